"""Orphans go through the trash, discarded files are deleted after the grace period; dry runs."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.maintenance import collector as collector_module
from service.maintenance.collector import DAY, MAX_ORPHANS, Collector, RetentionPolicy
from service.store import datasets
from service.store.jobs import jobs
from service.store.maintenance import garbage
from tests.api.job_factory import JobFactory
from tests.maintenance.collector_helpers import advance_clock, collect, collect_once, keys, put, statistics
from tests.store.records import dataset

pytestmark = pytest.mark.usefixtures("paired")


@pytest.mark.parametrize(("referenced", "removed"), [(0, False), (290, False), (310, True)])
def test_too_large_a_share_of_orphans_is_only_removed_with_force(
    job_factory: JobFactory, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, referenced: int, removed: bool
) -> None:
    monkeypatch.setattr(collector_module, "MAX_ORPHANS", 9)
    orphans = {f"checkpoints/job_0/{number}" for number in range(10)}
    put(artifacts, *orphans, *(f"datasets/ds_{number}/data.parquet" for number in range(referenced // 10)))
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        for number in range(referenced // 10):
            path = f"datasets/ds_{number}/data.parquet"
            datasets.add(connection, dataset(f"ds_{number}", f"{number:064}"), path=path, options="{}")

    done = collect(job_factory)

    assert (set(done.trashed) == orphans, done.refused is None) == (removed, removed)
    if not removed:
        assert "10 of " in str(done.refused)
        assert statistics(job_factory.database).refused == 1
        assert keys(artifacts) >= orphans
        assert set(collect_once(job_factory, force=True).trashed) == orphans


def test_a_few_orphans_are_removed_whatever_their_share(job_factory: JobFactory, artifacts: Artifacts) -> None:
    put(artifacts, *(f"checkpoints/job_0/{number}" for number in range(MAX_ORPHANS)))

    assert len(collect(job_factory).trashed) == MAX_ORPHANS


def test_the_trash_is_emptied_after_its_retention_time(job_factory: JobFactory, artifacts: Artifacts) -> None:
    put(artifacts, "checkpoints/job_0/a")
    collect(job_factory)
    trash = artifacts.path("trash/checkpoints/job_0/a")
    assert (statistics(job_factory.database).trash_files, statistics(job_factory.database).trash_bytes) == (1, 1)
    advance_clock(job_factory.database, 7 * DAY - 60)

    collect_once(job_factory)
    assert trash.exists()
    advance_clock(job_factory.database, 60)
    collect_once(job_factory)

    assert not trash.exists()
    assert statistics(job_factory.database).trash_files == 0


def test_a_large_trash_is_marked_in_small_transactions(
    job_factory: JobFactory, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(artifacts, *(f"trash/checkpoints/job_0/{number}" for number in range(7)))
    monkeypatch.setattr(collector_module, "FILES", 3)
    mark, numbers = garbage.mark, list[int]()

    def counted(connection: Any, run: garbage.CollectionRun, names: Any) -> Any:
        numbers.append(len(names))
        return mark(connection, run, names)

    monkeypatch.setattr(garbage, "mark", counted)

    collect_once(job_factory)

    assert numbers == [3, 3, 1]


def test_old_unfinished_files_are_removed_and_current_ones_kept(job_factory: JobFactory, artifacts: Artifacts) -> None:
    (artifacts.root / "tmp/left").mkdir()
    (artifacts.root / "tmp/left/upload").write_bytes(b"x")
    collect_once(job_factory)
    advance_clock(job_factory.database)
    with artifacts.scratch() as folder:
        collect_once(job_factory)

        assert folder.exists()
    assert not (artifacts.root / "tmp/left").exists()


def test_a_replaced_file_of_a_live_job_is_deleted_after_the_grace_period(
    job_factory: JobFactory, artifacts: Artifacts
) -> None:
    claim = job_factory.running()
    for number in (1, 2):
        data = job_factory.publish(claim, number)
    replaced = f"checkpoints/{claim.job_id}/best-1.safetensors"
    artifacts.put(replaced, data)  # the test publisher has deleted it
    collect_once(job_factory)
    advance_clock(job_factory.database, DAY - 60)

    assert collect_once(job_factory).deleted == []
    advance_clock(job_factory.database, 60)
    assert collect_once(job_factory).deleted == [replaced]
    assert keys(artifacts) == {f"checkpoints/{claim.job_id}/best-2.safetensors"}
    assert statistics(job_factory.database).trash_files == 0, "replaced files skip the trash"


def test_without_a_grace_period_discarded_files_are_deleted_at_once_but_orphans_wait(
    job_factory: JobFactory, artifacts: Artifacts
) -> None:
    claim = job_factory.trained()
    put(artifacts, "datasets/ds_0/data.parquet", "tmp/upload")
    with job_factory.database.transaction() as connection:
        jobs.remove(connection, claim.job_id)

    done = Collector(job_factory.database, artifacts, RetentionPolicy(grace_hours=0.0)).collect(threading.Event())

    assert [key.split("/")[1] for key in done.deleted] == [claim.job_id]
    assert keys(artifacts) == {"datasets/ds_0/data.parquet"}
    assert artifacts.path("tmp/upload").exists()


def test_a_dry_run_lists_what_a_collection_would_do(job_factory: JobFactory, artifacts: Artifacts) -> None:
    claim = job_factory.trained()
    put(artifacts, "checkpoints/job_0/a")
    with job_factory.database.transaction() as connection:
        jobs.remove(connection, claim.job_id)
    collector = Collector(job_factory.database, artifacts, RetentionPolicy(grace_hours=48))
    (path,) = [key for key in keys(artifacts) if claim.job_id in key]
    lines = [list(collector.preview().lines())]
    collector.collect(threading.Event())
    advance_clock(job_factory.database)
    lines.append(list(collector.preview().lines()))

    assert sorted(lines[0]) == sorted(
        [
            "checkpoints/job_0/a  would be removed in 24.0 hours",
            f"{path}  would be removed in 48.0 hours",
            "0 of 2 files would be removed",
        ]
    )
    assert lines[1] == [
        "checkpoints/job_0/a  would be moved to the trash",
        f"{path}  would be removed in 24.0 hours",
        "1 of 2 files would be removed",
    ]
    assert len(keys(artifacts)) == 2
