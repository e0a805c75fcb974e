"""What no row names goes when it is old; what a row names, or may yet name, never does."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from service.access import DEFAULT_TENANT
from service.artifacts import ABANDONED_SECONDS, Artifacts
from service.collector import JOBS, Collector
from service.errors import NotFound
from service.lifecycle import CheckpointKind, Status
from service.store import datasets, jobs, sweeps
from service.store.engine import Database
from service.store.tables import checkpoints, epochs
from service.store.tables import datasets as datasets_table
from service.store.tables import jobs as jobs_table
from service.store.tables import sweeps as sweeps_table
from tests.api.states import Kitchen
from tests.store.records import dataset


def collect(kitchen: Kitchen, keep_days: int = 0) -> None:
    Collector(kitchen.database, kitchen.artifacts, keep_days).collect(threading.Event())


def age(artifacts: Artifacts, *keys: str, seconds: float = ABANDONED_SECONDS + 60) -> None:
    then = time.time() - seconds
    for key in keys:
        os.utime(artifacts.path(key), (then, then))


def put(artifacts: Artifacts, *keys: str) -> None:
    """Old files."""
    for key in keys:
        artifacts.put(key, b"x")
    age(artifacts, *keys)


def keys(artifacts: Artifacts) -> set[str]:
    return {file.key for file in artifacts.files()}


def end_long_ago(database: Database, *job_ids: str, days: float = 10) -> None:
    then = datetime.now(UTC) - timedelta(days=days)
    with database.transaction() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.id.in_(job_ids)).values(finished_at=then))


def test_old_files_that_no_row_names_go_and_their_folders_too(kitchen: Kitchen, artifacts: Artifacts) -> None:
    put(artifacts, "checkpoints/job_0/1-best-3.safetensors", "datasets/ds_0/data.parquet")

    collect(kitchen)

    assert keys(artifacts) == set()
    assert not artifacts.path("checkpoints/job_0").exists()


def test_files_that_rows_name_stay_however_old(kitchen: Kitchen, artifacts: Artifacts) -> None:
    claim = kitchen.trained()
    artifacts.put("datasets/ds_1/data.parquet", b"x")
    with kitchen.database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset("ds_1"), path="datasets/ds_1/data.parquet", options="{}")
    before = keys(artifacts)
    age(artifacts, *before)
    put(artifacts, f"checkpoints/{claim.job_id}/1-best-1.safetensors")

    collect(kitchen)

    assert keys(artifacts) == before
    assert len(before) == 2


def test_young_files_stay_as_their_row_may_be_on_its_way(kitchen: Kitchen, artifacts: Artifacts) -> None:
    artifacts.put("datasets/ds_0/data.parquet", b"x")
    age(artifacts, "datasets/ds_0/data.parquet", seconds=ABANDONED_SECONDS - 60)

    collect(kitchen)

    assert keys(artifacts) == {"datasets/ds_0/data.parquet"}


def test_a_file_of_a_live_job_stays_as_its_trainer_may_have_waited_for_days_to_name_it(
    kitchen: Kitchen, artifacts: Artifacts
) -> None:
    claim = kitchen.running()
    key = f"checkpoints/{claim.job_id}/1-best-9.safetensors"
    put(artifacts, key)

    collect(kitchen)
    assert keys(artifacts) == {key}

    kitchen.finish(claim, Status.failed)
    collect(kitchen)
    assert keys(artifacts) == set()


def test_what_the_service_has_not_made_is_left_alone(kitchen: Kitchen, artifacts: Artifacts) -> None:
    put(artifacts, "lost+found/a/b", "checkpoints/job_0/folder/file", "notes")

    collect(kitchen)

    assert all(artifacts.path(key).exists() for key in ("lost+found/a/b", "checkpoints/job_0/folder/file", "notes"))


def test_a_row_that_appears_while_files_are_listed_saves_its_file(
    kitchen: Kitchen, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "datasets/ds_1/data.parquet"
    put(artifacts, key)
    real = Artifacts.files

    def row_comes_late(self: Artifacts):  # type: ignore[no-untyped-def]
        yield from real(self)
        with kitchen.database.transaction(DEFAULT_TENANT) as connection:
            datasets.add(connection, dataset("ds_1"), path=key, options="{}")

    monkeypatch.setattr(Artifacts, "files", row_comes_late)
    collect(kitchen)

    assert artifacts.path(key).exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans(), st.booleans())))
def test_exactly_old_files_without_a_row_go(
    kitchen: Kitchen, artifacts: Artifacts, files: list[tuple[str, str, bool, bool]]
) -> None:
    with kitchen.database.transaction() as connection:
        connection.execute(delete(datasets_table))
    kept = set()
    for number, (folder, name, old, named) in enumerate(files):
        key = f"datasets/{folder}/{name}{number}"
        artifacts.put(key, b"x")
        if old:
            age(artifacts, key)
        if named:
            with kitchen.database.transaction(DEFAULT_TENANT) as connection:
                datasets.add(connection, dataset(f"ds_{number}", f"{number:064}"), path=key, options="{}")
        if named or not old:
            kept.add(key)

    collect(kitchen)

    assert keys(artifacts) == kept
    for key in kept:
        artifacts.delete(key)


def test_jobs_are_kept_for_ever_unless_a_time_is_set(kitchen: Kitchen) -> None:
    claim = kitchen.trained()
    end_long_ago(kitchen.database, claim.job_id, days=10_000)

    collect(kitchen)

    with kitchen.database.reading() as connection:
        assert jobs.get(connection, claim.job_id).status is Status.succeeded


def test_jobs_that_ended_too_long_ago_go_with_all_that_is_theirs(kitchen: Kitchen, artifacts: Artifacts) -> None:
    old = [kitchen.trained().job_id for _ in range(JOBS + 2)]
    recent, live = kitchen.trained().job_id, kitchen.queued().id
    end_long_ago(kitchen.database, *old, days=8)
    end_long_ago(kitchen.database, recent, days=6)

    collect(kitchen, keep_days=7)

    with kitchen.database.reading() as connection:
        assert [job.id for job in jobs.find(connection, limit=100)] == [live, recent]
        assert set(connection.scalars(select(epochs.c.job_id))) == {recent}
        assert set(connection.scalars(select(checkpoints.c.job_id))) == {recent}
    assert {key.split("/")[1] for key in keys(artifacts)} == {recent}


def test_sweeps_go_with_the_last_of_their_jobs(kitchen: Kitchen) -> None:
    gone, kept = kitchen.swept(), kitchen.swept()
    long_ago = datetime.now(UTC) - timedelta(days=10)
    with kitchen.database.transaction() as connection:
        connection.execute(update(sweeps_table).values(created_at=long_ago))
        ended = update(jobs_table).where(jobs_table.c.sweep_id == gone.id)
        connection.execute(ended.values(finished_at=long_ago))

    collect(kitchen, keep_days=7)

    with kitchen.database.reading() as connection:
        assert sweeps.get(connection, kept.id).jobs == 1
        with pytest.raises(NotFound):
            sweeps.get(connection, gone.id)


@pytest.mark.parametrize("how", ["deleted", "forgotten"])
def test_a_file_that_another_job_names_too_outlives_a_job(kitchen: Kitchen, artifacts: Artifacts, how: str) -> None:
    first, second = kitchen.trained(), kitchen.trained()
    (path,) = [key for key in keys(artifacts) if first.job_id in key]
    with kitchen.database.transaction() as connection:
        same = checkpoints.c.job_id == second.job_id
        connection.execute(update(checkpoints).where(same).values(path=path, kind=CheckpointKind.last))

    if how == "deleted":
        with kitchen.database.transaction() as connection:
            assert jobs.remove(connection, first.job_id) == set()
    else:
        end_long_ago(kitchen.database, first.job_id)
        collect(kitchen, keep_days=7)
    age(artifacts, *keys(artifacts))
    collect(kitchen)

    assert keys(artifacts) == {path}


def test_one_turn_an_hour_is_taken_by_whoever_comes_first(kitchen: Kitchen, artifacts: Artifacts) -> None:
    put(artifacts, "checkpoints/job_0/a")
    stop = threading.Event()
    collectors = [Collector(kitchen.database, Artifacts(artifacts.path("x").parent), 0) for _ in range(2)]
    threads = [threading.Thread(target=collector.run, args=(stop,)) for collector in collectors]

    for thread in threads:
        thread.start()
        while keys(artifacts):
            time.sleep(0.01)
    artifacts.put("checkpoints/job_0/b", b"x")
    age(artifacts, "checkpoints/job_0/b")
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join(5)

    assert keys(artifacts) == {"checkpoints/job_0/b"}
    with kitchen.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(jobs_table)) == 0


def test_a_database_that_is_away_ends_no_collector(artifacts: Artifacts, tmp_path: Path) -> None:
    put(artifacts, "checkpoints/job_0/a")
    away = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    stop = threading.Event()
    thread = threading.Thread(target=Collector(away, artifacts, 7).run, args=(stop,))

    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    stop.set()
    thread.join(5)

    assert keys(artifacts) == {"checkpoints/job_0/a"}
    away.close()
