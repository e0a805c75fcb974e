"""A trainer whose notice runs out saves within the epoch; the next attempt is bit-identical."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

import pytest
import torch

from service.artifacts import Artifacts
from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.status import Status
from service.store import checkpoints
from service.store.engine import Database
from service.store.jobs import events
from service.training.progress import ProgressCounter
from service.worker import interruption
from service.worker.protocol import STOP, CheckpointPolicy
from service.worker.trainer import Trainer
from tests.store.records import claim, job, submit
from tests.worker.trainers import outcome, run

LONG_EPOCHS: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 3_000, "features": 3},
    "batch_size": 2,
    "max_epochs": 2,
    "architecture": {"hidden": [4], "dropout": 0.2},
}


@pytest.fixture(autouse=True)
def looks_within_epochs(no_looks_within_epochs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "LOOK_SECONDS", 0.02)


def hurried(database: Database, artifacts: Artifacts, pipe: Connection, notice: float) -> Trainer:
    policy = CheckpointPolicy(0.0, frozenset({"last", "state", "predictions"}), drain_seconds=notice)
    return Trainer(database, artifacts, torch.device("cpu"), pipe, ProgressCounter(), policy)


def states(database: Database, job_id: str) -> set[CheckpointKind]:
    kinds = CheckpointKind.state, CheckpointKind.mid_epoch
    with database.reading() as connection:
        return {kind for kind in kinds if checkpoints.of_jobs(connection, [job_id], kind)}


def test_a_short_notice_interrupts_the_epoch_and_the_job_resumes_within_it(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection]
) -> None:
    interrupted, undisturbed = submit(database, **LONG_EPOCHS), submit(database, **LONG_EPOCHS)
    pipe[0].send(STOP)
    hurried(database, artifacts, pipe[1], notice=0.0).run(claim(database))

    stopped = job(database, interrupted.id)
    assert (stopped.status, stopped.progress.epoch) == (Status.queued, 0)
    assert states(database, interrupted.id) == {CheckpointKind.mid_epoch}
    with database.reading() as connection:
        assert checkpoints.find(connection, interrupted.id) == []

    pipe[1].recv()
    for _ in range(2):
        run(database, artifacts, pipe)
    with database.reading() as connection:
        (resumed,) = [e for e in events.read(connection, interrupted.id, limit=50) if e.kind is EventKind.resumed]
    assert resumed.message.startswith("resumed after step ")
    assert "of epoch 1 (bit-identical)" in resumed.message
    assert outcome(database, artifacts, interrupted.id) == outcome(database, artifacts, undisturbed.id)
    assert states(database, interrupted.id) == {CheckpointKind.state}


def test_a_trainer_that_released_its_jobs_trains_the_next_ones_to_their_end(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection]
) -> None:
    released = submit(database, **LONG_EPOCHS)
    trainer = hurried(database, artifacts, pipe[1], notice=0.0)
    pipe[0].send(STOP)
    trainer.run(claim(database))
    assert job(database, released.id).status is Status.queued
    pipe[1].recv()

    trainer.run(claim(database))

    assert job(database, released.id).status is Status.succeeded


def test_a_long_notice_lets_the_epoch_end(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection]
) -> None:
    submitted = submit(database, **LONG_EPOCHS)
    pipe[0].send(STOP)
    hurried(database, artifacts, pipe[1], notice=600.0).run(claim(database))

    assert job(database, submitted.id).progress.epoch == 1
    assert states(database, submitted.id) == {CheckpointKind.state}


def test_states_within_a_long_epoch_are_saved_while_it_trains(
    database: Database,
    artifacts: Artifacts,
    pipe: tuple[Connection, Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interruption, "MIN_SAVE_SECONDS", 0.1)
    monkeypatch.setattr("service.worker.recorder.FLUSH_SECONDS", 0.0)
    saved, undisturbed = submit(database, **LONG_EPOCHS), submit(database, **LONG_EPOCHS)
    before = set[str]()
    put = artifacts.put

    def noted(key: str, data: bytes) -> None:
        before.add(key)
        put(key, data)

    monkeypatch.setattr(artifacts, "put", noted)
    hurried(database, artifacts, pipe[1], notice=20.0).run(claim(database))
    run(database, artifacts, pipe)

    assert any("mid_epoch" in key for key in before)
    assert outcome(database, artifacts, saved.id) == outcome(database, artifacts, undisturbed.id)
    assert states(database, saved.id) == {CheckpointKind.state}


def test_a_damaged_state_within_an_epoch_falls_back_to_the_one_before(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection]
) -> None:
    interrupted, undisturbed = submit(database, **LONG_EPOCHS), submit(database, **LONG_EPOCHS)
    for notice in (600.0, 0.0):
        pipe[0].send(STOP)
        hurried(database, artifacts, pipe[1], notice).run(claim(database))
        pipe[1].recv()
    assert states(database, interrupted.id) == {CheckpointKind.state, CheckpointKind.mid_epoch}
    with database.reading() as connection:
        (state,) = checkpoints.of_jobs(connection, [interrupted.id], CheckpointKind.mid_epoch).values()
    artifacts.path(state.path).write_bytes(b"damaged")

    for _ in range(2):
        run(database, artifacts, pipe)

    with database.reading() as connection:
        messages = [event.message for event in events.read(connection, interrupted.id, limit=50)]
    assert "resumed after epoch 1 (bit-identical)" in messages
    assert outcome(database, artifacts, interrupted.id) == outcome(database, artifacts, undisturbed.id)
