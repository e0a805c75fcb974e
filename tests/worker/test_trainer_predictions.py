"""The predictions that an ended job keeps: of which rows, with which values, and what happens when they cannot be."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch

from service.artifacts import Artifacts, sha256_of
from service.data.formats import prediction_table
from service.data.formats.prediction_table import PredictionTable
from service.data.preprocess.preprocessing import Table
from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.job_file import JobFile, JobFileKind
from service.domain.status import Status
from service.errors import StorageError
from service.maintenance.doctor import Doctor
from service.spec.resolve import Resolved
from service.store import checkpoints, job_files
from service.store.engine import Database
from service.store.jobs import actions, events, leases
from service.store.jobs.claim import Claim
from service.store.maintenance.artifact_refs import collectable
from service.training.checkpoint import from_bytes
from service.training.inference import InferenceModel
from service.training.progress import ProgressCounter
from service.worker import predictions
from service.worker import recorder as recorder_module
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer
from tests.data.tables import Stored
from tests.store.records import CRASH, claim, job
from tests.store.records import submit as submit_synthetic
from tests.worker.attempts import SPEC, Told
from tests.worker.attempts import attempt as train_until
from tests.worker.test_trainer_folds import resolve, submit, upload
from tests.worker.trainers import predicted

SPLIT = {"validation": 0.25, "test": 0.15}
sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def stored(database: Database, artifacts: Artifacts, tmp_path: Path) -> Stored:
    """A table of 120 rows with targets of each type, some of them missing."""
    lines = ["a,b,c,text,whole,flag,number,count"]
    for i in range(120):
        text, count = ("" if i % 11 == 3 else "pqr"[i % 3]), i % 6
        number = "" if i % 9 == 2 else str(i * 0.37 % 9 - 4)
        lines.append(f"{i * 37 % 101},{i * i % 13},{'uvw'[i % 3]},{text},{i % 3 - 1},{i % 2 > 0},{number},{count}")
    return upload(database, artifacts, tmp_path, "\n".join(lines) + "\n")


def train(
    database: Database, artifacts: Artifacts, resolved: Resolved, keep: str = "last,state,predictions"
) -> tuple[str, JobFile | None]:
    """The id and the file of predictions of a job trained to its end."""
    job_id = submit(database, resolved)
    run(database, artifacts, claim(database), keep)
    return job_id, find(database, job_id)


def run(database: Database, artifacts: Artifacts, claims: list[Claim], keep: str = "predictions") -> None:
    here, there = Pipe()
    policy = CheckpointPolicy(10.0, frozenset(keep.split(",")))
    Trainer(database, artifacts, torch.device("cpu"), there, ProgressCounter(), policy).run(claims)
    here.close()


def find(database: Database, job_id: str) -> JobFile | None:
    with database.reading() as connection:
        return job_files.find(connection, job_id, JobFileKind.predictions)


def read(artifacts: Artifacts, kept: JobFile | None) -> PredictionTable:
    assert kept is not None
    path = artifacts.path(kept.path)
    assert (path.stat().st_size, sha256_of(path)) == (kept.size_bytes, kept.sha256)
    return prediction_table.read(path)


def reasons(database: Database, job_id: str) -> list[str]:
    with database.reading() as connection:
        log = events.read(connection, job_id, limit=100)
    return [event.message for event in log if event.kind is EventKind.predictions_not_kept]


def targets(artifacts: Artifacts, column: str) -> list[Any]:
    parquet = next(artifacts.path("datasets").rglob("*.parquet"))
    return [value for (value,) in duckdb.read_parquet(str(parquet)).project(f'"{column}"').fetchall()]


TARGETS: dict[str, dict[str, Any]] = {
    "text": {"task": "classification"},
    "whole": {"task": "classification"},
    "flag": {"task": "classification"},
    "number": {"task": "regression"},
    "clipped": {"data": {"target": "number"}, "task": "regression", "preprocess": {"clip_target": True}},
    "count": {"task": "regression", "loss": {"kind": "poisson"}},
}


def job_on(stored: Stored, target: str, **own: Any) -> Resolved:
    fields = dict(TARGETS[target])
    data = {"target": target, **fields.pop("data", {})}
    return resolve(stored, {"data": data}, **{"split": SPLIT, "max_epochs": 5, "early_stopping": None, **fields, **own})


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_name_the_rows_of_the_table_and_agree_with_the_checkpoint(
    database: Database, artifacts: Artifacts, stored: Stored, target: str
) -> None:
    resolved = job_on(stored, target)

    job_id, kept = train(database, artifacts, resolved)

    table = read(artifacts, kept)
    with database.reading() as connection:
        best = checkpoints.get(connection, job_id, CheckpointKind.best)
    source = table.source
    assert (source.job, source.epoch, source.sha256) == (job_id, best.epoch, best.sha256)
    assert (source.task, source.target) == (resolved.spec.task, resolved.target.column)
    values = targets(artifacts, resolved.target.column)
    expected = [values[row] for row in table.row]
    assert None not in expected
    assert len({*table.row.tolist()}) == len(table.row) == resolved.rows.validation + resolved.rows.test
    assert table.validation_rows == resolved.rows.validation
    model = InferenceModel(from_bytes(artifacts.path(best.path).read_bytes()))
    rows = features(artifacts, model, table.row)
    if table.classes is None:
        assert table.truth.tolist() == expected
        np.testing.assert_allclose(table.prediction, model.numbers(rows), rtol=1e-5, atol=1e-5)
    else:
        assert [table.classes[i] for i in table.truth] == expected
        shares = model.shares(rows).numpy()
        np.testing.assert_allclose(table.probabilities, shares, rtol=1e-5, atol=1e-6)
        assert table.prediction.tolist() == shares.argmax(1).tolist()


def features(artifacts: Artifacts, model: InferenceModel, rows: Any) -> Table:
    columns = {}
    for feature in model.preprocessing.features:
        values = targets(artifacts, feature.column)
        text = feature.categories is not None
        columns[feature.column] = np.array(values, dtype=object if text else np.float64)[rows]
    return Table(columns, len(rows))


@sqlite
def test_metrics_of_the_predictions_are_those_of_the_job(
    database: Database, artifacts: Artifacts, stored: Stored
) -> None:
    job_id, kept = train(database, artifacts, job_on(stored, "text"))
    table, ended = read(artifacts, kept), job(database, job_id)

    assert ended.test is not None
    assert ended.best is not None
    tested, validated = table.only("test"), table.only("validation")
    assert (tested.truth == tested.prediction).mean() == pytest.approx(ended.test.metrics["accuracy"])
    assert (validated.truth == validated.prediction).mean() == pytest.approx(ended.best.metrics["val_accuracy"])
    assert validated.probabilities is not None
    own = validated.probabilities[np.arange(len(validated.truth)), validated.truth]
    assert -np.log(own.astype(np.float64)).mean() == pytest.approx(ended.best.metrics["val_log_loss"], abs=1e-7)


@sqlite
def test_each_fold_predicts_its_own_rows_and_together_they_predict_all(
    database: Database, artifacts: Artifacts, stored: Stored
) -> None:
    rows = []
    for fold in (1, 2, 3):
        split = {"folds": 3, "fold": fold, "test": 0.1}
        table = read(artifacts, train(database, artifacts, job_on(stored, "text", split=split))[1])
        rows += table.only("validation").row.tolist()

    everything = [row for row, value in enumerate(targets(artifacts, "text")) if value is not None]
    assert sorted(rows + table.only("test").row.tolist()) == everything


@sqlite
def test_only_validation_rows_or_none_at_all(database: Database, artifacts: Artifacts, stored: Stored) -> None:
    alone = read(artifacts, train(database, artifacts, job_on(stored, "text", split={"validation": 0.2}))[1])
    fields = {"split": {"validation": 0.0}, "early_stopping": {"monitor": "train_loss"}}
    job_id, none = train(database, artifacts, job_on(stored, "text", **fields))

    assert alone.validation_rows == len(alone.row) > 0
    assert none is None
    assert reasons(database, job_id) == []


@sqlite
def test_keep_can_leave_predictions_out(database: Database, artifacts: Artifacts, stored: Stored) -> None:
    job_id, kept = train(database, artifacts, job_on(stored, "text"), keep="last,state")

    assert kept is None
    assert reasons(database, job_id) == []
    assert not artifacts.path("jobs").exists()


@sqlite
def test_too_many_predictions_are_not_kept_and_the_log_says_so(
    database: Database, artifacts: Artifacts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.predictions.MAX_PREDICTIONS", 10)

    job_id, kept = train(database, artifacts, job_on(stored, "text"))

    assert (job(database, job_id).status, kept) == (Status.succeeded, None)
    (reason,) = reasons(database, job_id)
    assert reason == "predictions not kept: 43 rows have 129 values, and at most 10 are kept"


@sqlite
@pytest.mark.parametrize("failures", [1, 2])
def test_a_disk_too_full_for_predictions_fails_no_job(
    database: Database, artifacts: Artifacts, stored: Stored, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    put, failed = artifacts.put, []

    def full(key: str, data: bytes) -> None:
        if "predictions" in key and len(failed) < failures:
            failed.append(key)
            raise StorageError(f"the artifact store could not write: {os.strerror(errno.ENOSPC)}")
        put(key, data)

    monkeypatch.setattr(artifacts, "put", full)
    monkeypatch.setattr("service.worker.superseded_checkpoints.SupersededCheckpoints.make_room", lambda _: True)

    job_id, kept = train(database, artifacts, job_on(stored, "text"))

    assert job(database, job_id).status is Status.succeeded
    assert (kept is None) == (failures == 2), "written again after replaced checkpoints were deleted"
    assert len(reasons(database, job_id)) == failures - 1
    assert all("No space left on device" in reason for reason in reasons(database, job_id))
    assert artifacts.unfinished() == []


@sqlite
def test_the_predictions_of_one_job_of_an_array_are_in_memory_at_a_time(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = list[Any](), predictions.prediction_table

    def watched(*given: Any) -> PredictionTable:
        assert not [table for table in made if table() is not None], "the previous table is in memory"
        table = make(*given)
        made.append(weakref.ref(table))
        return table

    monkeypatch.setattr(predictions, "prediction_table", watched)
    for seed in range(5):
        submit_synthetic(database, seed=seed, max_epochs=1, early_stopping=None)

    run(database, artifacts, claim(database, width=5))

    assert len(made) == 5
    assert len([file for file in artifacts.files() if file.key.startswith("jobs/")]) == 5


def python_out_of_memory() -> None:
    raise MemoryError


def numpy_out_of_memory() -> None:
    np.empty(2**50)


def torch_out_of_memory() -> None:
    torch.empty(2**50)  # a RuntimeError of its CPU allocator


def cuda_out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@sqlite
@pytest.mark.parametrize(
    "allocate", [python_out_of_memory, numpy_out_of_memory, torch_out_of_memory, cuda_out_of_memory]
)
def test_predictions_that_do_not_fit_in_memory_fail_no_job(
    database: Database,
    artifacts: Artifacts,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
    allocate: Callable[[], None],
) -> None:
    monkeypatch.setattr("service.worker.predictions.prediction_table", lambda *_: allocate())

    job_id, kept = train(database, artifacts, job_on(stored, "text"))

    assert (job(database, job_id).status, kept) == (Status.succeeded, None)
    assert reasons(database, job_id) == ["predictions not kept: out of memory"]


@sqlite
def test_another_error_in_predictions_fails_the_job(
    database: Database, artifacts: Artifacts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("service.worker.predictions.prediction_table", broken)

    job_id, _ = train(database, artifacts, job_on(stored, "text"))

    error = job(database, job_id).error
    assert error is not None
    assert "shapes do not match" in error.message


@sqlite
def test_a_cancelled_job_keeps_predictions_of_its_best_epoch(
    database: Database, artifacts: Artifacts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 0.0)
    job_id = submit(database, job_on(stored, "text", max_epochs=1_000))
    claims = claim(database)
    with database.transaction() as connection:
        actions.cancel(connection, job_id)

    run(database, artifacts, claims)

    assert job(database, job_id).status is Status.cancelled
    assert read(artifacts, find(database, job_id)).source.epoch == 1


def test_predictions_of_an_attempt_that_lost_its_lease_are_garbage(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = submit_synthetic(database, max_epochs=2, early_stopping=None)
    claims, finish = claim(database), recorder_module.Recorder.finish

    def lose_and_finish(recorder: Any, outcomes: Any) -> Any:
        with database.transaction() as connection:
            leases.record_crash(connection, submitted.id, claims[0].attempt, CRASH)
        return finish(recorder, outcomes)

    monkeypatch.setattr(recorder_module.Recorder, "finish", lose_and_finish)
    run(database, artifacts, claims)

    assert find(database, submitted.id) is None
    (file,) = [file.key for file in artifacts.files() if file.key.startswith("jobs/")]
    with database.reading() as connection:
        assert collectable(connection, [file]) == {file}


@sqlite
@pytest.mark.usefixtures("eager")
def test_a_resumed_job_keeps_the_same_predictions(database: Database, artifacts: Artifacts) -> None:
    fields = {**SPEC, "split": {"test": 0.2}}
    undisturbed = submit_synthetic(database, **fields)
    train_until(database, artifacts, Told(), keep="state,predictions")
    disturbed = submit_synthetic(database, **fields)
    for count in (1, 4, 2, 0):
        train_until(database, artifacts, Told(count), keep="state,predictions")

    one, other = find(database, undisturbed.id), find(database, disturbed.id)
    assert one is not None
    assert other is not None
    assert predicted(artifacts, one) == predicted(artifacts, other)
    assert list(Doctor(database, artifacts).examine()) == []
