"""The doctor reports inconsistent jobs and databases, and no problems in a healthy deployment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.artifacts import FolderArtifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.maintenance.doctor import Doctor, Findings
from service.store import sweeps
from service.store.engine import Database, migrate, sqlite_module
from service.store.jobs import actions, jobs
from tests.api.job_factory import JobFactory
from tests.maintenance.damage import change, damage, examined, file_of, trained
from tests.specs import synthetic


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


def test_a_sweep_without_jobs_is_no_problem(job_factory: JobFactory) -> None:
    sweep = job_factory.swept()
    with job_factory.database.transaction() as connection:
        for job in jobs.find(connection, jobs.JobFilter(sweep=sweep.id), limit=10):
            jobs.remove(connection, job.id)
        assert sweeps.get(connection, sweep.id).jobs == 0

    assert examined(job_factory) == []


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
