"""`bestepoch worker` as a process: it exits when idle or after a number of jobs, and drains within long epochs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status
from service.store import checkpoints, workers
from service.store.engine import Database, migrate
from service.store.jobs import jobs
from tests.processes import until
from tests.specs import synthetic
from tests.store.records import job

HOUR_LONG_EPOCHS: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 200_000},
    "batch_size": 2,
    "early_stopping": None,
}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'bestepoch.db'}"
    migrate(url)
    return Database(url)


def worker(home: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_TRAINERS": "1", "BESTEPOCH_ARRAY_WIDTH": "1"}
    return subprocess.Popen([sys.executable, "-m", "service.cli", "worker", *options], env=environment)


def submit(database: Database, **fields: Any) -> str:
    with database.transaction(DEFAULT_TENANT) as connection:
        return jobs.submit(connection, synthetic(**fields), max_queued=10)[0].id


def test_a_worker_exits_when_the_queue_is_empty(database: Database, tmp_path: Path) -> None:
    labelled = submit(database, worker={"labels": {"gpu": "h100"}}, max_epochs=2)
    other = submit(database, worker={"labels": {"gpu": "a100"}})

    assert worker(tmp_path, "--exit-when-idle", "1", "--labels", "gpu=h100,spot=true").wait(60) == 0

    assert job(database, labelled).status is Status.succeeded
    assert job(database, other).status is Status.queued
    with database.reading() as connection:
        assert workers.find(connection) == []


def test_a_worker_exits_after_a_number_of_jobs(database: Database, tmp_path: Path) -> None:
    submitted = [submit(database, max_epochs=2) for _ in range(3)]

    assert worker(tmp_path, "--max-jobs", "2").wait(60) == 0

    assert [job(database, each).status for each in submitted] == [Status.succeeded] * 2 + [Status.queued]


def test_a_stopped_worker_saves_within_an_epoch_that_is_longer_than_its_notice(
    database: Database, tmp_path: Path
) -> None:
    submitted = submit(database, **HOUR_LONG_EPOCHS)
    process = worker(tmp_path, "--drain-seconds", "6", "--preemptible")
    until(lambda: job(database, submitted).status is Status.running, seconds=60)
    with database.reading() as connection:
        (alive,) = workers.find(connection)
    assert alive.preemptible

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    stopped = job(database, submitted)
    assert (stopped.status, stopped.progress.epoch, stopped.failures) == (Status.queued, 0, 0)
    with database.reading() as connection:
        assert checkpoints.of_jobs(connection, [submitted], CheckpointKind.mid_epoch)


def test_wrong_labels_are_refused_at_the_start(tmp_path: Path, database: Database) -> None:
    environment = {**os.environ, "BESTEPOCH_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "service.cli", "worker", "--labels", "gpu"]

    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert "'gpu' is not KEY=VALUE" in ended.stderr
