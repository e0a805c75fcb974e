"""One claimed job through a trainer, without the process around it."""

from __future__ import annotations

from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from service.artifacts import Artifacts
from service.lifecycle import CheckpointKind, ErrorCode, Job, Status, StopReason
from service.spec.job import JobSpec
from service.store import checkpoints, datasets, history, jobs
from service.store.engine import Database
from service.training.checkpoint import from_bytes
from service.worker import trainer
from service.worker.protocol import STOP
from tests.specs import synthetic
from tests.store.records import claim, dataset, job, submit


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def pipe() -> tuple[Connection, Connection]:
    return Pipe()


def run(database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection]) -> Job:
    (claimed,) = claim(database)
    trainer.run(claimed, database, artifacts, torch.device("cpu"), pipe[1])
    return job(database, claimed.job_id)


def test_a_job_runs_to_its_end(database: Database, artifacts: Artifacts, pipe: Any) -> None:
    submit(database, max_epochs=3, split={"test": 0.2})

    ended = run(database, artifacts, pipe)

    assert (ended.status, ended.stop_reason, ended.device) == (Status.succeeded, StopReason.max_epochs, "cpu")
    assert ended.test is not None
    assert set(ended.test.metrics) >= {"loss", "accuracy"}
    with database.reading() as connection:
        assert [row.epoch for row in history.read(connection, ended.id)] == [1, 2, 3]
        best = checkpoints.get(connection, ended.id, CheckpointKind.best)
    restored = from_bytes(artifacts.path(best.path).read_bytes())
    assert ended.best is not None
    assert restored.epoch == ended.best.epoch == best.epoch
    assert restored.spec == ended.spec


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how", ["told", "orphaned"])
def test_a_trainer_that_must_stop_gives_its_job_back(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection], how: str
) -> None:
    submit(database, max_epochs=1_000_000, early_stopping=None)
    if how == "told":
        pipe[0].send(STOP)
    else:
        pipe[0].close()

    waiting = run(database, artifacts, pipe)

    assert (waiting.status, waiting.failures, waiting.attempt) == (Status.queued, 0, 1)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_job_that_must_not_end_by_a_signal_is_cancelled_at_its_epochs_end(
    database: Database, artifacts: Artifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.recorder.FLUSH_SECONDS", 0.0)
    submitted = submit(database, max_epochs=1_000_000, early_stopping=None)
    (claimed,) = claim(database)
    with database.transaction() as connection:
        jobs.cancel(connection, submitted.id)

    trainer.run(claimed, database, artifacts, torch.device("cpu"), pipe[1])

    ended = job(database, submitted.id)
    assert (ended.status, ended.stop_reason, ended.progress.epoch) == (Status.cancelled, StopReason.cancelled, 1)
    assert ended.best is not None
    assert ended.best.checkpoint is not None


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("policy", "status", "reason"),
    [("stop", Status.succeeded, StopReason.diverged), ("fail", Status.failed, None)],
)
def test_a_loss_that_explodes_ends_the_job_and_keeps_the_best(
    database: Database, artifacts: Artifacts, pipe: Any, policy: str, status: Status, reason: StopReason | None
) -> None:
    rows = [[float(i), float(i * i)] for i in range(40)]
    submit(
        database,
        data={"kind": "inline", "x": rows, "y": [i * 0.5 for i in range(40)]},
        architecture={"hidden": [8], "batch_norm": False},
        optimizer={"kind": "sgd", "lr": 10.0},
        early_stopping={"patience": 1_000, "on_non_finite": policy},
        max_epochs=2_000,
    )

    ended = run(database, artifacts, pipe)

    assert (ended.status, ended.stop_reason) == (status, reason)
    assert ended.best is not None
    assert ended.best.checkpoint is not None
    if policy == "fail":
        assert ended.error is not None
        assert ended.error.code is ErrorCode.non_finite_loss


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_data_set_fails_the_job_and_says_so(
    database: Database, artifacts: Artifacts, pipe: Any, damage: str
) -> None:
    with database.transaction() as connection:
        datasets.add(connection, dataset("ds_1"), path="datasets/ds_1/data.parquet", options="{}")
    if damage == "changed":
        artifacts.put("datasets/ds_1/data.parquet", b"not what was uploaded")
    resolved = synthetic()
    spec = JobSpec.model_validate({"data": {"id": "ds_1", "target": "a"}})
    with database.transaction() as connection:
        jobs.submit(connection, resolved.__class__(**{**vars(resolved), "spec": spec}), max_queued=10)

    failed = run(database, artifacts, pipe)

    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.failed, ErrorCode.dataset_corrupt)
    assert "upload the file again" in failed.error.message


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (MemoryError(), ErrorCode.out_of_memory),
        (torch.OutOfMemoryError(), ErrorCode.out_of_memory),
        (ZeroDivisionError("division by zero"), ErrorCode.internal),
    ],
)
def test_an_error_in_training_fails_the_job_with_its_cause(
    database: Database,
    artifacts: Artifacts,
    pipe: Any,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    code: ErrorCode,
) -> None:
    def broken(*_: object) -> None:
        raise raised

    monkeypatch.setattr(trainer, "prepare", broken)
    submit(database)

    failed = run(database, artifacts, pipe)

    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.failed, code)
    assert type(raised).__name__ in str(failed.error.log_tail)
