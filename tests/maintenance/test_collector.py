"""The garbage collector removes old unreferenced files, and never one that a row refers to, or may yet refer to."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from service.artifacts import Artifacts, FolderArtifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status
from service.maintenance.collector import DAY, CollectionReport
from service.store import datasets
from service.store.jobs import jobs
from service.store.maintenance import garbage
from service.store.schema import checkpoints
from service.store.schema import datasets as datasets_table
from tests.api.job_factory import JobFactory
from tests.maintenance.collector_helpers import advance_clock, collect, collect_once, keys, put, set_end_time
from tests.store.records import dataset

pytestmark = pytest.mark.usefixtures("paired")


def test_old_unreferenced_files_and_empty_folders_are_removed(job_factory: JobFactory, artifacts: Artifacts) -> None:
    put(artifacts, "checkpoints/job_0/1-best-3.safetensors", "datasets/ds_0/data.parquet")

    collect(job_factory)

    assert keys(artifacts) == set()
    assert not artifacts.path("checkpoints/job_0").exists()
    assert artifacts.path("trash/checkpoints/job_0/1-best-3.safetensors").read_bytes() == b"x"


def test_referenced_files_are_kept_however_old(job_factory: JobFactory, artifacts: Artifacts) -> None:
    claim = job_factory.trained()
    artifacts.put("datasets/ds_1/data.parquet", b"x")
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset("ds_1"), path="datasets/ds_1/data.parquet", options="{}")
    before = keys(artifacts)
    put(artifacts, f"checkpoints/{claim.job_id}/1-best-1.safetensors")

    collect(job_factory)

    assert keys(artifacts) == before
    assert len(before) == 2


def test_new_unreferenced_files_are_kept_until_their_row_is_committed(
    job_factory: JobFactory, artifacts: Artifacts
) -> None:
    artifacts.put("datasets/ds_0/data.parquet", b"x")
    collect_once(job_factory)
    advance_clock(job_factory.database, DAY - 60)

    collect_once(job_factory)

    assert keys(artifacts) == {"datasets/ds_0/data.parquet"}


@pytest.mark.parametrize("days", [400, -400])
def test_file_times_and_the_wall_clock_have_no_effect(
    job_factory: JobFactory, artifacts: Artifacts, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(artifacts, "checkpoints/job_0/a", "tmp/upload")
    then = time.time() - days * DAY
    for key in ("checkpoints/job_0/a", "tmp/upload"):
        os.utime(artifacts.path(key), (then, then))

    collect_once(job_factory)
    collect_once(job_factory)

    assert artifacts.path("checkpoints/job_0/a").exists()
    assert artifacts.path("tmp/upload").exists()


def test_unreferenced_files_of_live_jobs_are_kept(job_factory: JobFactory, artifacts: Artifacts) -> None:
    claim = job_factory.running()
    key = f"checkpoints/{claim.job_id}/1-best-9.safetensors"
    put(artifacts, key)

    collect(job_factory)
    assert keys(artifacts) == {key}

    job_factory.finish(claim, Status.failed)
    collect(job_factory)
    assert keys(artifacts) == set()


def test_foreign_files_in_the_folder_are_left_alone(job_factory: JobFactory, artifacts: Artifacts) -> None:
    put(artifacts, "lost+found/a/b", "checkpoints/job_0/folder/file", "notes")

    collect(job_factory)

    assert all(artifacts.path(key).exists() for key in ("lost+found/a/b", "checkpoints/job_0/folder/file", "notes"))


def test_a_row_committed_while_files_are_listed_keeps_its_file(
    job_factory: JobFactory, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "datasets/ds_1/data.parquet"
    put(artifacts, key)
    real = FolderArtifacts.files

    def row_appears_late(self: Artifacts):  # type: ignore[no-untyped-def]
        yield from real(self)
        with job_factory.database.transaction(DEFAULT_TENANT) as connection:
            datasets.add(connection, dataset("ds_1"), path=key, options="{}")

    collect_once(job_factory)
    advance_clock(job_factory.database)
    monkeypatch.setattr(FolderArtifacts, "files", row_appears_late)
    collect_once(job_factory)

    assert artifacts.path(key).exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans(), st.booleans())))
def test_exactly_the_old_unreferenced_files_are_removed(
    job_factory: JobFactory, artifacts: Artifacts, files: list[tuple[str, str, bool, bool]]
) -> None:
    with job_factory.database.transaction() as connection:
        connection.execute(delete(datasets_table))
    kept = set()

    def write(when_old: bool) -> None:
        for number, (folder, name, old, referenced) in enumerate(files):
            if old is not when_old:
                continue
            key = f"datasets/{folder}/{name}{number}"
            artifacts.put(key, b"x")
            if referenced:
                with job_factory.database.transaction(DEFAULT_TENANT) as connection:
                    datasets.add(connection, dataset(f"ds_{number}", f"{number:064}"), path=key, options="{}")
            if referenced or not old:
                kept.add(key)

    write(True)
    collect_once(job_factory)
    advance_clock(job_factory.database)
    write(False)
    collect_once(job_factory)

    assert keys(artifacts) == kept
    for key in kept:
        artifacts.delete(key)


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_a_file_shared_by_two_jobs_outlives_one_of_them(
    job_factory: JobFactory, artifacts: Artifacts, how: str
) -> None:
    first, second = job_factory.trained(), job_factory.trained()
    (path,) = [key for key in keys(artifacts) if first.job_id in key]
    with job_factory.database.transaction() as connection:
        same = checkpoints.c.job_id == second.job_id
        connection.execute(update(checkpoints).where(same).values(path=path, kind=CheckpointKind.last))

    if how == "deleted":
        with job_factory.database.transaction() as connection:
            jobs.remove(connection, first.job_id)
    else:
        set_end_time(job_factory.database, first.job_id)
        collect(job_factory, keep_days=7)
    collect(job_factory)

    assert keys(artifacts) == {path}


def test_a_file_referenced_in_between_starts_a_new_waiting_time(job_factory: JobFactory, artifacts: Artifacts) -> None:
    key = "datasets/ds_1/data.parquet"
    put(artifacts, key)
    collect_once(job_factory)
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset("ds_1"), path=key, options="{}")
    collect_once(job_factory)
    advance_clock(job_factory.database)
    with job_factory.database.transaction() as connection:
        connection.execute(delete(datasets_table))

    collect_once(job_factory)

    assert keys(artifacts) == {key}


def test_concurrent_collections_and_transactions_that_discard_the_same_files_succeed(
    job_factory: JobFactory, artifacts: Artifacts
) -> None:
    orphans = [f"checkpoints/job_0/{number}" for number in range(60)]
    put(artifacts, *orphans)

    def discard() -> CollectionReport:
        for _ in range(5):
            with job_factory.database.transaction() as connection:
                garbage.discard(connection, orphans)
        return CollectionReport()

    with ThreadPoolExecutor() as pool:
        running = [
            pool.submit(collect_once, job_factory),
            pool.submit(discard),
            pool.submit(collect_once, job_factory),
            pool.submit(discard),
        ]
        assert sum(len(each.result().deleted) for each in running) == 0
    advance_clock(job_factory.database)
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(collect_once, job_factory) for _ in range(3)]
        for each in running:
            assert each.result().failed == 0

    assert keys(artifacts) == set()
