"""The doctor reports lost and damaged files, and what each means."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.job_file import JobFile, JobFileKind
from service.domain.status import Status
from service.maintenance import deployment_id
from service.maintenance.doctor import Doctor
from service.store import datasets, job_files
from service.store.jobs import jobs
from service.store.schema import metadata
from tests.api.job_factory import JobFactory
from tests.data.test_prediction_table import table
from tests.maintenance.damage import examined, file_of, trained
from tests.store.records import dataset, epoch


def test_a_lost_file_of_predictions_is_reported_with_what_it_means(job_factory: JobFactory) -> None:
    claim = job_factory.running()
    job_factory.keep_predictions(claim, table(("a", "b"), 5, 3))
    job_factory.finish(claim, Status.cancelled)
    file_of(job_factory, claim.job_id).unlink()

    (problem,) = examined(job_factory)

    assert problem.startswith(f"{claim.job_id}: the file of its predictions is missing (jobs/{claim.job_id}/")
    assert problem.endswith("restore the file from a backup; the job's checkpoints and metrics do not need it")


def test_a_lost_report_is_built_again(job_factory: JobFactory) -> None:
    job_id, key, now = trained(job_factory), "jobs/job_1/report-1.json", datetime.now(UTC)
    report = JobFile(kind=JobFileKind.report, sha256="0" * 64, size_bytes=1, path=key, created_at=now)
    with job_factory.database.transaction() as connection:
        job_files.replace(connection, job_id, report, DEFAULT_TENANT)

    assert examined(job_factory) == [
        f"{job_id}: the file of its report is missing ({key}); nothing to do: the next request builds it again"
    ]


def test_missing_truncated_and_corrupt_files_are_reported(job_factory: JobFactory) -> None:
    missing, short, flipped, healthy = (trained(job_factory) for _ in range(4))
    file_of(job_factory, missing).unlink()
    whole = file_of(job_factory, short).read_bytes()
    file_of(job_factory, short).write_bytes(whole[:-1])
    file_of(job_factory, flipped).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    lines = examined(job_factory)

    assert [line.split(" (")[0] for line in lines] == [
        f"{missing}: the file of its best is missing",
        f"{short}: the file of its best has {len(whole) - 1} bytes instead of {len(whole)}",
        f"{flipped}: the file of its best is corrupt: its SHA-256 differs",
    ]
    assert all("restore the file from a backup, or delete the job" in line for line in lines)
    assert not any(healthy in line for line in lines)


def test_a_missing_saved_state_loses_no_result(job_factory: JobFactory) -> None:
    claim = job_factory.running()
    job_factory.record(claim, epoch(1))
    job_factory.publish(claim, 1, CheckpointKind.state)
    file_of(job_factory, claim.job_id).unlink()

    (lines,) = [line for line in examined(job_factory) if "of its state" in line]

    assert lines.endswith(
        "a live job restarts, with the same result; an ended one cannot be forked from its last epoch"
    )


def test_a_missing_file_of_a_data_set_is_reported(job_factory: JobFactory) -> None:
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset(), path="datasets/ds_1/data.parquet", options="{}")

    assert examined(job_factory) == [
        "ds_1: the file of its rows is missing (datasets/ds_1/data.parquet); "
        "restore the file from a backup, or delete the data set and upload it again"
    ]


def test_a_checkpoint_replaced_during_the_check_is_not_reported(
    job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = job_factory.running()
    job_factory.publish(claim, 1)
    real = Doctor._compare

    def replaced_first(self: Doctor, file: Any) -> str | None:
        job_factory.publish(claim, 2)
        return real(self, file)

    monkeypatch.setattr(Doctor, "_compare", replaced_first)

    assert examined(job_factory) == []


def test_unreferenced_files_are_counted_by_kind_and_are_no_problem(job_factory: JobFactory) -> None:
    for name in "abc":
        job_factory.artifacts.put(f"checkpoints/{trained(job_factory)}/{name}", b"x" * 100_000)
    with job_factory.database.transaction() as connection:
        for job in jobs.find(connection, limit=1):
            jobs.remove(connection, job.id)
    job_factory.artifacts.put("trash/datasets/ds_1/data.parquet", b"x" * 100_000)
    doctor = Doctor(job_factory.database, job_factory.artifacts)

    assert list(doctor.examine()) == []
    assert str(doctor.findings).splitlines()[1:] == [
        "1 file (0.0 MB) was replaced or deleted and will be removed after the grace period",
        "3 files (0.3 MB) are orphaned (no row refers to them) and will be moved to the trash after a day",
        "1 file (0.1 MB) is in the trash",
        "no problems found",
    ]


def test_the_folder_of_another_database_is_reported_first(job_factory: JobFactory) -> None:
    job_id = trained(job_factory)
    deployment_id.pair(job_factory.database, job_factory.artifacts)
    job_factory.artifacts.set_deployment_id("dep_of_another")
    file_of(job_factory, job_id).unlink()

    first, second = examined(job_factory)

    assert first.startswith("artifacts: the artifact store ")
    assert "belongs to another database: its id is dep_of_another" in first
    assert "run `bestepoch adopt`" in first
    assert second.startswith(f"{job_id}: the file of its best is missing")


def test_a_missing_file_can_be_restored_from_the_trash(job_factory: JobFactory) -> None:
    file = file_of(job_factory, trained(job_factory))
    assert job_factory.artifacts.move_to_trash(f"checkpoints/{file.parent.name}/{file.name}")

    (lines,) = examined(job_factory)

    _, moved, _, target = lines.split("it is in the trash: ")[1].split(" ")
    target = Path(target)
    target.parent.mkdir()
    Path(moved).rename(target)
    assert examined(job_factory) == []


def test_every_column_with_an_artifact_key_is_named_path() -> None:
    paths = {str(column) for table in metadata.sorted_tables for column in table.c if "path" in column.name}

    assert paths >= {"datasets.path", "checkpoints.path"}
    assert all(name.endswith(".path") for name in paths)
