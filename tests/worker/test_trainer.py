"""The trainer: claimed jobs from load to end, without a separate process."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import pytest
import torch

from service.artifacts import Artifacts
from service.data.preprocess.dataset import prepare
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import ErrorCode, Status, StopReason
from service.spec.job import JobSpec
from service.spec.resolve import RowCounts
from service.store import checkpoints, datasets, epochs
from service.store.engine import Database
from service.store.jobs import actions, jobs
from service.training.checkpoint import from_bytes
from service.training.loop import Training
from service.worker.protocol import STOP
from tests.specs import synthetic
from tests.store.records import claim, dataset, job, submit
from tests.worker.trainers import outcome, run, trainer


def test_a_job_runs_to_its_end(database: Database, artifacts: Artifacts, pipe: Any) -> None:
    submit(database, max_epochs=3, split={"test": 0.2})

    ended = run(database, artifacts, pipe)

    assert (ended.status, ended.stop_reason, ended.device) == (Status.succeeded, StopReason.max_epochs, "cpu")
    assert ended.test is not None
    assert set(ended.test.metrics) >= {"loss", "accuracy"}
    with database.reading() as connection:
        assert [row.epoch for row in epochs.read(connection, ended.id)] == [1, 2, 3]
        best = checkpoints.get(connection, ended.id, CheckpointKind.best)
    restored = from_bytes(artifacts.path(best.path).read_bytes())
    assert ended.best is not None
    assert restored.epoch == ended.best.epoch == best.epoch
    assert restored.spec == ended.spec


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_full_batch_holds_all_rows_of_the_groups_that_train(
    database: Database, artifacts: Artifacts, pipe: Any
) -> None:
    # Of three groups of 20 rows two train; the estimate is 33 rows.
    x = [[float(i), float(i % 3)] for i in range(60)]
    data = {"kind": "inline", "x": x, "y": [0, 1] * 30}
    fields = {"split": {"group": "x1", "validation": 0.45}, "batch_size": "full", "max_epochs": 1}
    submit(database, data=data, **fields)

    ended = run(database, artifacts, pipe)

    job = synthetic(data=data, **fields)
    rows = prepare(job.preparation, None)
    exact = replace(job, rows=RowCounts(train=40, validation=20, test=0, dropped=0))
    ((report,),) = Training([exact], rows, torch.device("cpu"))
    assert (job.rows.train, job.rows.exact) == (33, False)
    assert ended.best is not None
    assert ended.best.metrics["train_loss"] == report.row.train_loss


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_split_that_the_rows_do_not_allow_fails_the_job_saying_so(
    database: Database, artifacts: Artifacts, pipe: Any
) -> None:
    # Two groups by the profile, of which one has no target.
    x = [[float(i), float(i % 2)] for i in range(20)]
    submit(database, data={"kind": "inline", "x": x, "y": [[0, 1][i // 10] if i % 2 else None for i in range(20)]},
           split={"group": "x1"})  # fmt: skip

    failed = run(database, artifacts, pipe)

    assert failed.status is Status.failed
    assert failed.error is not None
    assert failed.error.code is ErrorCode.invalid_spec
    assert failed.error.message == "the rows have 1 groups; the split needs 2 or more"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_allocation_failure_is_reported_as_out_of_memory(
    database: Database, artifacts: Artifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(database)
    monkeypatch.setattr("service.worker.trainer.Training", lambda *_: torch.empty(2**60))

    failed = run(database, artifacts, pipe)

    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.failed, ErrorCode.out_of_memory)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how", ["told", "orphaned"])
def test_a_trainer_that_is_told_to_stop_requeues_its_job(
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
def test_a_cancelled_job_ends_at_its_epochs_end(
    database: Database, artifacts: Artifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.recorder.FLUSH_SECONDS", 0.0)
    submitted = submit(database, max_epochs=1_000_000, early_stopping=None)
    claims = claim(database)
    with database.transaction() as connection:
        actions.cancel(connection, submitted.id)

    trainer(database, artifacts, pipe).run(claims)

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
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset("ds_1"), path="datasets/ds_1/data.parquet", options="{}")
    if damage == "changed":
        artifacts.put("datasets/ds_1/data.parquet", b"not what was uploaded")
    resolved = synthetic()
    spec = JobSpec.model_validate({"data": {"id": "ds_1", "target": "a"}})
    with database.transaction(DEFAULT_TENANT) as connection:
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

    monkeypatch.setattr("service.worker.prepared_cache.prepare_table", broken)
    submit(database)

    failed = run(database, artifacts, pipe)

    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.failed, code)
    assert type(raised).__name__ in str(failed.error.log_tail)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_fault_in_scoring_test_rows_leaves_the_best_epoch_with_its_own_row_and_weights(
    database: Database, artifacts: Artifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"split": {"test": 0.2}, "max_epochs": 3, "early_stopping": {"monitor": "train_loss"}}
    calm = submit(database, **fields).id
    run(database, artifacts, pipe)
    submit(database, **fields)

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("service.training.epoch.ArrayTrainer.evaluate_best", broken)
    failed = run(database, artifacts, pipe)

    assert (failed.status, failed.progress.epoch) == (Status.failed, 3)
    assert failed.best is not None
    assert failed.best.epoch == 3
    assert outcome(database, artifacts, failed.id)[3:5] == outcome(database, artifacts, calm)[3:5]
