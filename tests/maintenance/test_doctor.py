"""The doctor reports each kind of damage in one line, and no problems in a healthy deployment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from service.artifacts import FolderArtifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.job_file import JobFile, JobFileKind
from service.domain.status import Status
from service.maintenance import deployment_id
from service.maintenance.doctor import Doctor, Findings
from service.store import datasets, job_files, sweeps
from service.store.engine import Database, migrate, sqlite_module
from service.store.jobs import actions, jobs
from service.store.schema import jobs as jobs_table
from service.store.schema import metadata
from tests.api.job_factory import JobFactory
from tests.data.test_prediction_table import table
from tests.specs import synthetic
from tests.store.records import dataset, epoch


def examined(job_factory: JobFactory) -> list[str]:
    return [str(problem) for problem in Doctor(job_factory.database, job_factory.artifacts).examine()]


def damage(job_factory: JobFactory, statement: Any) -> None:
    with job_factory.database.transaction() as connection:
        connection.execute(statement)


def trained(job_factory: JobFactory) -> str:
    """A consistent job: its best epoch is 3."""
    job_id = job_factory.trained(epochs=3).job_id
    with job_factory.database.transaction() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(best_value=1 / 3))
    return job_id


def change(job_id: str, **values: Any) -> Any:
    return update(jobs_table).where(jobs_table.c.id == job_id).values(**values)


def file_of(job_factory: JobFactory, job_id: str) -> Path:
    (file,) = [file for file in job_factory.artifacts.files() if job_id in file.key]
    return job_factory.artifacts.path(file.key)


def test_a_healthy_deployment_has_no_problems(job_factory: JobFactory) -> None:
    trained(job_factory)
    job_factory.running()
    job_factory.queued()
    job_factory.swept()
    doctor = Doctor(job_factory.database, job_factory.artifacts)

    assert list(doctor.examine()) == []
    lines = str(doctor.findings).splitlines()
    assert lines[0].startswith("4 jobs, 1 sweep, 0 data sets; 1 file (0.0 MB) verified")
    assert lines[1:] == ["no problems found"]


def test_counts_of_one_are_singular() -> None:
    one = Findings(jobs=1, datasets=1, sweeps=1, files=1, problems=1)
    one.unreferenced |= {"discarded": (2, 10), "orphan": (1, 10), "trash": (1_000, 10)}

    assert str(one).splitlines() == [
        "1 job, 1 sweep, 1 data set; 1 file (0.0 MB) verified",
        "2 files (0.0 MB) were replaced or deleted and will be removed after the grace period",
        "1 file (0.0 MB) is orphaned (no row refers to it) and will be moved to the trash after a day",
        "1,000 files (0.0 MB) are in the trash",
        "1 problem found",
    ]


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


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"worker": None}, "running without a worker, a lease or an attempt"),
        ({"lease_until": None}, "running without a worker, a lease or an attempt"),
        ({"attempt": 0}, "running without a worker, a lease or an attempt"),
        ({"status": Status.queued}, "waiting, but it has a lease"),
        (
            {"status": Status.paused, "lease_until": None, "epoch_limit": 0},
            "waiting at its epoch limit, but its sweep takes no more decisions",
        ),
        ({"finished_at": datetime.now(UTC)}, "not ended, but it has an end time"),
        ({"status": Status.failed, "lease_until": None}, "ended, but it has no end time"),
        ({"status": Status.failed, "finished_at": datetime.now(UTC)}, "ended, but it has a lease"),
    ],
)
def test_an_inconsistent_job_state_is_reported(job_factory: JobFactory, values: dict[str, Any], problem: str) -> None:
    claim = job_factory.running()
    damage(job_factory, change(claim.job_id, **values))

    lines, *more = examined(job_factory)

    assert lines.startswith(f"{claim.job_id}: {problem} (status ")
    unlogged = f"{claim.job_id}: it is failed, but its event log has 0 end events"
    assert [each.partition(";")[0] for each in more] == [unlogged] * (values.get("status") is Status.failed)


def test_a_live_job_without_its_data_set_is_reported(job_factory: JobFactory) -> None:
    live, ended = job_factory.queued(), job_factory.queued()
    with job_factory.database.transaction() as connection:
        actions.cancel(connection, ended.id)
    for job in (live, ended):
        spec = job.spec.model_dump(mode="json")
        spec["data"] = {"kind": "dataset", "id": "ds_1", "target": "species"}
        damage(job_factory, change(job.id, spec=spec))

    (lines,) = examined(job_factory)

    assert lines.startswith(f"{live.id}: its data set is missing")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_job_whose_sweep_is_missing_is_reported(job_factory: JobFactory, tmp_path: Path) -> None:
    job_factory.swept()
    unchecked = sqlite_module.connect(
        str(tmp_path / "test.db"), isolation_level=None
    )  # foreign keys are off by default
    unchecked.execute("DELETE FROM sweeps")
    unchecked.close()

    (lines,) = examined(job_factory)

    assert lines.startswith("database: row 1 of jobs refers to a missing row of sweeps")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how", ["pages", "head"])
def test_a_damaged_database_file_is_reported(job_factory: JobFactory, tmp_path: Path, how: str) -> None:
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        for _ in range(200):
            jobs.submit(connection, synthetic(), max_queued=1_000)
    job_factory.database.close()  # checkpoints the WAL into the file
    path = tmp_path / "test.db"
    with path.open("r+b") as file:
        if how == "head":
            file.write(b"not a database at all" * 10)
        else:
            size = path.stat().st_size
            for place in range(size // 2 // 4096 * 4096, size, 4096):
                file.seek(place)
                file.write(os.urandom(200))

    lines = examined(job_factory)

    assert lines
    assert all(line.startswith("database: ") and "restore the latest backup" in line for line in lines)


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


def test_a_sweep_without_jobs_is_no_problem(job_factory: JobFactory) -> None:
    sweep = job_factory.swept()
    with job_factory.database.transaction() as connection:
        for job in jobs.find(connection, jobs.JobFilter(sweep=sweep.id), limit=10):
            jobs.remove(connection, job.id)
        assert sweeps.get(connection, sweep.id).jobs == 0

    assert examined(job_factory) == []


def test_every_column_with_an_artifact_key_is_named_path() -> None:
    paths = {str(column) for table in metadata.sorted_tables for column in table.c if "path" in column.name}

    assert paths >= {"datasets.path", "checkpoints.path"}
    assert all(name.endswith(".path") for name in paths)


@pytest.mark.e2e
def test_the_command_exits_with_1_if_there_are_problems(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bestepoch.db'}"
    migrate(url)
    job_factory = JobFactory(Database(url), FolderArtifacts(tmp_path / "artifacts"))
    job_id = trained(job_factory)
    environment = {**os.environ, "BESTEPOCH_HOME": str(tmp_path)}

    def doctor() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service.cli", "doctor"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    healthy = doctor()
    shutil.rmtree(file_of(job_factory, job_id).parent)
    damaged = doctor()
    job_factory.database.close()

    assert (healthy.returncode, healthy.stdout.splitlines()[-1]) == (0, "no problems found")
    assert (damaged.returncode, damaged.stdout.splitlines()[-1]) == (1, "1 problem found")
    assert damaged.stdout.startswith(f"{job_id}: the file of its best is missing")
    assert damaged.stderr == ""
