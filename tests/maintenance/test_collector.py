"""What no row names goes when it is old; what a row names, or may yet name, never does."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status
from service.errors import Misconfigured, NotFound
from service.maintenance import collector as collector_module
from service.maintenance.collector import DAY, JOBS, STRAYS, CollectionReport, Collector, RetentionPolicy
from service.maintenance.deployment_id import join
from service.store import datasets, sweeps
from service.store.engine import Database
from service.store.jobs import jobs
from service.store.maintenance import garbage
from service.store.schema import checkpoints, collections, epochs
from service.store.schema import datasets as datasets_table
from service.store.schema import garbage as garbage_table
from service.store.schema import jobs as jobs_table
from service.store.schema import sweeps as sweeps_table
from tests.api.states import Kitchen
from tests.processes import until
from tests.store.records import dataset


@pytest.fixture(autouse=True)
def paired(request: pytest.FixtureRequest) -> None:
    """The folder is the database's, as after a start."""
    if "kitchen" in request.fixturenames:
        kitchen = request.getfixturevalue("kitchen")
        join(kitchen.database, kitchen.artifacts)


def once(kitchen: Kitchen, keep_days: int = 0, *, force: bool = False) -> CollectionReport:
    """One collection."""
    return Collector(kitchen.database, kitchen.artifacts, RetentionPolicy(keep_days)).collect(
        threading.Event(), force=force
    )


def pass_time(database: Database, seconds: float = DAY) -> None:
    """As if what collections have seen had been seen so much earlier, and one had been made just now."""
    with database.transaction() as connection:
        now = garbage.begin(connection)
        connection.execute(
            update(collections).where(collections.c.number < now.number).values(clock=collections.c.clock - seconds)
        )
        connection.execute(update(garbage_table).values(since=garbage_table.c.since - seconds))


def collect(kitchen: Kitchen, keep_days: int = 0) -> CollectionReport:
    """Two collections a day apart."""
    once(kitchen, keep_days)
    pass_time(kitchen.database)
    return once(kitchen, keep_days)


def put(artifacts: Artifacts, *keys: str) -> None:
    for key in keys:
        artifacts.put(key, b"x")


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
    assert artifacts.path("trash/checkpoints/job_0/1-best-3.safetensors").read_bytes() == b"x"


def test_files_that_rows_name_stay_however_old(kitchen: Kitchen, artifacts: Artifacts) -> None:
    claim = kitchen.trained()
    artifacts.put("datasets/ds_1/data.parquet", b"x")
    with kitchen.database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset("ds_1"), path="datasets/ds_1/data.parquet", options="{}")
    before = keys(artifacts)
    put(artifacts, f"checkpoints/{claim.job_id}/1-best-1.safetensors")

    collect(kitchen)

    assert keys(artifacts) == before
    assert len(before) == 2


def test_young_files_stay_as_their_row_may_be_on_its_way(kitchen: Kitchen, artifacts: Artifacts) -> None:
    artifacts.put("datasets/ds_0/data.parquet", b"x")
    once(kitchen)
    pass_time(kitchen.database, DAY - 60)

    once(kitchen)

    assert keys(artifacts) == {"datasets/ds_0/data.parquet"}


@pytest.mark.parametrize("days", [400, -400])
def test_the_time_of_day_and_of_a_file_decide_nothing(
    kitchen: Kitchen, artifacts: Artifacts, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(artifacts, "checkpoints/job_0/a", "tmp/upload")
    then = time.time() - days * DAY
    for key in ("checkpoints/job_0/a", "tmp/upload"):
        os.utime(artifacts.path(key), (then, then))

    once(kitchen)
    once(kitchen)

    assert artifacts.path("checkpoints/job_0/a").exists()
    assert artifacts.path("tmp/upload").exists()


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

    once(kitchen)
    pass_time(kitchen.database)
    monkeypatch.setattr(Artifacts, "files", row_comes_late)
    once(kitchen)

    assert artifacts.path(key).exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans(), st.booleans())))
def test_exactly_old_files_without_a_row_go(
    kitchen: Kitchen, artifacts: Artifacts, files: list[tuple[str, str, bool, bool]]
) -> None:
    with kitchen.database.transaction() as connection:
        connection.execute(delete(datasets_table))
    kept = set()

    def write(when_old: bool) -> None:
        for number, (folder, name, old, named) in enumerate(files):
            if old is not when_old:
                continue
            key = f"datasets/{folder}/{name}{number}"
            artifacts.put(key, b"x")
            if named:
                with kitchen.database.transaction(DEFAULT_TENANT) as connection:
                    datasets.add(connection, dataset(f"ds_{number}", f"{number:064}"), path=key, options="{}")
            if named or not old:
                kept.add(key)

    write(True)
    once(kitchen)
    pass_time(kitchen.database)
    write(False)
    once(kitchen)

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

    found = keys(artifacts)

    collect(kitchen, keep_days=7)

    with kitchen.database.reading() as connection:
        assert [job.id for job in jobs.find(connection, limit=100)] == [live, recent]
        assert set(connection.scalars(select(epochs.c.job_id))) == {recent}
        assert set(connection.scalars(select(checkpoints.c.job_id))) == {recent}
    assert {key.split("/")[1] for key in keys(artifacts)} == {recent, *old}, "a backup may still want them"
    pass_time(kitchen.database)
    assert set(once(kitchen).deleted) == {key for key in found if key.split("/")[1] in old}
    assert {key.split("/")[1] for key in keys(artifacts)} == {recent}


def test_a_job_in_a_state_of_a_newer_version_stays_however_long_ago_it_ended(kitchen: Kitchen) -> None:
    claim = kitchen.trained()
    end_long_ago(kitchen.database, claim.job_id)
    with kitchen.database.transaction() as connection:
        connection.execute(update(jobs_table).values(status="archived"))

    collect(kitchen, keep_days=7)

    with kitchen.database.reading() as connection:
        assert jobs.get(connection, claim.job_id).status == "archived"


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
            jobs.remove(connection, first.job_id)
    else:
        end_long_ago(kitchen.database, first.job_id)
        collect(kitchen, keep_days=7)
    collect(kitchen)

    assert keys(artifacts) == {path}


def test_one_turn_an_hour_is_taken_by_whoever_comes_first(kitchen: Kitchen, artifacts: Artifacts) -> None:
    stop = threading.Event()
    collectors = [Collector(kitchen.database, Artifacts(artifacts.root), RetentionPolicy()) for _ in range(2)]
    threads = [threading.Thread(target=collector.run, args=(stop,)) for collector in collectors]

    for thread in threads:
        thread.start()
    until(lambda: told(kitchen.database).collections)
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join(5)

    assert told(kitchen.database).collections == 1


def told(database: Database) -> garbage.CollectionStatistics:
    with database.reading() as connection:
        return garbage.statistics(connection)


def test_a_database_that_is_away_ends_no_collector(artifacts: Artifacts, tmp_path: Path) -> None:
    put(artifacts, "checkpoints/job_0/a")
    away = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    stop = threading.Event()
    thread = threading.Thread(target=Collector(away, artifacts, RetentionPolicy(7)).run, args=(stop,))

    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    stop.set()
    thread.join(5)

    assert keys(artifacts) == {"checkpoints/job_0/a"}
    away.close()


@contextmanager
def immovable(folder: Path) -> Iterator[None]:
    """No file of this folder can be removed, not even by root."""
    taken = subprocess.run(["chattr", "+i", folder], capture_output=True, text=True)
    if taken.returncode:
        pytest.skip(f"needs the right and a file system to make a folder immutable: {taken.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def test_a_file_that_cannot_be_removed_is_counted_and_tried_again(kitchen: Kitchen, artifacts: Artifacts) -> None:
    put(artifacts, "checkpoints/job_0/a", "checkpoints/job_1/b")
    with immovable(artifacts.path("checkpoints/job_0")):
        done = collect(kitchen)

        assert (done.trashed, done.failed) == (["checkpoints/job_1/b"], 1)
        assert told(kitchen.database).undeleted == 1

    assert once(kitchen).trashed == ["checkpoints/job_0/a"]
    assert told(kitchen.database).undeleted == 1


def test_no_error_ends_the_collector(
    kitchen: Kitchen, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is: the next hour's collection is made."""
    monkeypatch.setattr(collector_module, "TURN_SECONDS", 0.01)
    put(artifacts, "checkpoints/job_0/a")
    once(kitchen)
    pass_time(kitchen.database)
    stop = threading.Event()
    thread = threading.Thread(
        target=Collector(kitchen.database, artifacts, RetentionPolicy()).run, args=(stop,), daemon=True
    )

    def broken(*_: object, **__: object) -> Iterator[Any]:
        raise RuntimeError("never thought of")

    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "files", broken)
        with monkeypatch.context() as worse:
            worse.setattr(garbage, "count", broken)  # as where both fail for the same reason
            thread.start()
            until(lambda: caplog.text.count("not counted: never thought of") > 1)
        until(lambda: told(kitchen.database).failed > 1)
    until(lambda: not keys(artifacts))
    stop.set()
    thread.join(5)

    assert not thread.is_alive()
    assert "RuntimeError: never thought of" in caplog.text


def test_another_databases_folder_is_left_alone(
    kitchen: Kitchen, artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    put(artifacts, "checkpoints/job_0/a")
    collector, stop = Collector(kitchen.database, artifacts, RetentionPolicy()), threading.Event()
    once(kitchen)
    pass_time(kitchen.database, 10 * DAY)

    artifacts.set_deployment_id("dep_of_another")
    with pytest.raises(
        Misconfigured, match=r"belongs to another database: its id is dep_of_another.*`bestepoch adopt`"
    ):
        once(kitchen)
    artifacts.delete("deployment-id")
    with pytest.raises(Misconfigured, match="is the volume mounted"):
        once(kitchen)
    thread = threading.Thread(target=collector.run, args=(stop,), daemon=True)
    thread.start()
    until(lambda: told(kitchen.database).refused)
    stop.set()
    thread.join(5)

    assert keys(artifacts) == {"checkpoints/job_0/a"}
    assert "not collected: the artifacts folder" in caplog.text


@pytest.mark.parametrize(("named", "goes"), [(0, False), (290, False), (310, True)])
def test_more_strays_than_a_share_of_all_files_stay_until_somebody_says_so(
    kitchen: Kitchen, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, named: int, goes: bool
) -> None:
    monkeypatch.setattr(collector_module, "STRAYS", 9)
    strays = {f"checkpoints/job_0/{number}" for number in range(10)}
    put(artifacts, *strays, *(f"datasets/ds_{number}/data.parquet" for number in range(named // 10)))
    with kitchen.database.transaction(DEFAULT_TENANT) as connection:
        for number in range(named // 10):
            path = f"datasets/ds_{number}/data.parquet"
            datasets.add(connection, dataset(f"ds_{number}", f"{number:064}"), path=path, options="{}")

    done = collect(kitchen)

    assert (set(done.trashed) == strays, done.refused is None) == (goes, goes)
    if not goes:
        assert "10 of " in str(done.refused)
        assert told(kitchen.database).refused == 1
        assert keys(artifacts) >= strays
        assert set(once(kitchen, force=True).trashed) == strays


def test_a_few_strays_go_whatever_share_they_are(kitchen: Kitchen, artifacts: Artifacts) -> None:
    put(artifacts, *(f"checkpoints/job_0/{number}" for number in range(STRAYS)))

    assert len(collect(kitchen).trashed) == STRAYS


def test_the_trash_is_emptied_after_days(kitchen: Kitchen, artifacts: Artifacts) -> None:
    put(artifacts, "checkpoints/job_0/a")
    collect(kitchen)
    trash = artifacts.path("trash/checkpoints/job_0/a")
    assert (told(kitchen.database).trash_files, told(kitchen.database).trash_bytes) == (1, 1)
    pass_time(kitchen.database, 7 * DAY - 60)

    once(kitchen)
    assert trash.exists()
    pass_time(kitchen.database, 60)
    once(kitchen)

    assert not trash.exists()
    assert told(kitchen.database).trash_files == 0


def test_a_full_trash_is_marked_in_steps_that_hold_nobody_up(
    kitchen: Kitchen, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(artifacts, *(f"trash/checkpoints/job_0/{number}" for number in range(7)))
    monkeypatch.setattr(collector_module, "FILES", 3)
    mark, numbers = garbage.mark, list[int]()

    def counted(connection: Any, turn: garbage.CollectionRun, names: Any) -> Any:
        numbers.append(len(names))
        return mark(connection, turn, names)

    monkeypatch.setattr(garbage, "mark", counted)

    once(kitchen)

    assert numbers == [3, 3, 1]


def test_a_killed_processes_scraps_go_and_those_of_one_that_writes_stay(kitchen: Kitchen, artifacts: Artifacts) -> None:
    (artifacts.root / "tmp/left").mkdir()
    (artifacts.root / "tmp/left/upload").write_bytes(b"x")
    once(kitchen)
    pass_time(kitchen.database)
    with artifacts.scratch() as folder:
        once(kitchen)

        assert folder.exists()
    assert not (artifacts.root / "tmp/left").exists()


def test_a_live_jobs_replaced_file_goes_after_the_grace_period(kitchen: Kitchen, artifacts: Artifacts) -> None:
    claim = kitchen.running()
    for number in (1, 2):
        data = kitchen.publish(claim, number)
    replaced = f"checkpoints/{claim.job_id}/best-1.safetensors"
    artifacts.put(replaced, data)  # which this publisher had deleted
    once(kitchen)
    pass_time(kitchen.database, DAY - 60)

    assert once(kitchen).deleted == []
    pass_time(kitchen.database, 60)
    assert once(kitchen).deleted == [replaced]
    assert keys(artifacts) == {f"checkpoints/{claim.job_id}/best-2.safetensors"}
    assert told(kitchen.database).trash_files == 0, "it was replaced on purpose"


def test_without_a_grace_period_what_was_deleted_goes_at_once_and_what_may_yet_be_named_waits(
    kitchen: Kitchen, artifacts: Artifacts
) -> None:
    claim = kitchen.trained()
    put(artifacts, "datasets/ds_0/data.parquet", "tmp/upload")
    with kitchen.database.transaction() as connection:
        jobs.remove(connection, claim.job_id)

    done = Collector(kitchen.database, artifacts, RetentionPolicy(grace_hours=0.0)).collect(threading.Event())

    assert [key.split("/")[1] for key in done.deleted] == [claim.job_id]
    assert keys(artifacts) == {"datasets/ds_0/data.parquet"}
    assert artifacts.path("tmp/upload").exists()


def test_a_file_that_was_named_for_a_while_begins_its_time_anew(kitchen: Kitchen, artifacts: Artifacts) -> None:
    key = "datasets/ds_1/data.parquet"
    put(artifacts, key)
    once(kitchen)
    with kitchen.database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset("ds_1"), path=key, options="{}")
    once(kitchen)
    pass_time(kitchen.database)
    with kitchen.database.transaction() as connection:
        connection.execute(delete(datasets_table))

    once(kitchen)

    assert keys(artifacts) == {key}


def test_collections_at_once_and_a_transaction_that_discards_the_same_files_fail_nobody(
    kitchen: Kitchen, artifacts: Artifacts
) -> None:
    strays = [f"checkpoints/job_0/{number}" for number in range(60)]
    put(artifacts, *strays)

    def discard() -> CollectionReport:
        for _ in range(5):
            with kitchen.database.transaction() as connection:
                garbage.discard(connection, strays)
        return CollectionReport()

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(once, kitchen), pool.submit(discard), pool.submit(once, kitchen), pool.submit(discard)]
        assert sum(len(each.result().deleted) for each in running) == 0
    pass_time(kitchen.database)
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(once, kitchen) for _ in range(3)]
        for each in running:
            assert each.result().failed == 0

    assert keys(artifacts) == set()


def test_the_clock_of_collections_neither_jumps_nor_goes_back(database: Database) -> None:
    turns = []
    for shift in (0.0, 30 * DAY, -30 * DAY, 0.0):
        with database.transaction() as connection:
            connection.execute(update(collections).values(reading=collections.c.reading - shift))
            turns.append(garbage.begin(connection).now)

    assert turns[0] == 0
    assert turns[1] == garbage.STEP_SECONDS
    assert turns[1] == turns[2] <= turns[3] < turns[2] + 60


def test_the_last_days_are_remembered_however_many_collections_were_made(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "REMEMBERED", 3)
    with database.transaction() as connection:
        for _ in range(100):
            connection.execute(update(collections).values(reading=collections.c.reading - garbage.STEP_SECONDS))
            turn = garbage.begin(connection)

        assert turn is not None
        assert garbage.earliest_time(connection, turn, DAY) is not None
        kept = connection.scalars(select(collections.c.clock)).all()
    assert turn.now - min(kept) == pytest.approx(garbage.REMEMBERED_SECONDS, abs=garbage.STEP_SECONDS)


class Jumped(datetime):
    """A clock that is a year fast."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return super().now(tz) + timedelta(days=365)


@pytest.fixture
def jumped(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        for module in (collector_module, garbage):
            patch.setattr(module, "datetime", Jumped)
        yield patch


def test_a_clock_that_jumps_deletes_no_job(kitchen: Kitchen, jumped: pytest.MonkeyPatch) -> None:
    claim = kitchen.trained()
    once(kitchen, keep_days=7)
    once(kitchen, keep_days=7)
    pass_time(kitchen.database, DAY - 60)
    once(kitchen, keep_days=7)
    jumped.undo()
    pass_time(kitchen.database)

    once(kitchen, keep_days=7)

    with kitchen.database.reading() as connection:
        assert jobs.get(connection, claim.job_id).status is Status.succeeded


def test_what_a_collection_would_do_can_be_asked(kitchen: Kitchen, artifacts: Artifacts) -> None:
    claim = kitchen.trained()
    put(artifacts, "checkpoints/job_0/a")
    with kitchen.database.transaction() as connection:
        jobs.remove(connection, claim.job_id)
    collector = Collector(kitchen.database, artifacts, RetentionPolicy(grace_hours=48))
    (path,) = [key for key in keys(artifacts) if claim.job_id in key]
    said = [list(collector.preview().lines())]
    collector.collect(threading.Event())
    pass_time(kitchen.database)
    said.append(list(collector.preview().lines()))

    assert sorted(said[0]) == sorted(
        [
            "checkpoints/job_0/a  would wait 24.0 hours more",
            f"{path}  would wait 48.0 hours more",
            "0 of 2 files would go",
        ]
    )
    assert said[1] == [
        "checkpoints/job_0/a  would be moved to the trash",
        f"{path}  would wait 24.0 hours more",
        "1 of 2 files would go",
    ]
    assert len(keys(artifacts)) == 2
