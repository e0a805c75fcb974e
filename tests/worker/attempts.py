"""Attempts of jobs that stop or crash after so many epochs, and what they leave."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, cast

import torch

from service.artifacts import Artifacts
from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.epoch import Epoch
from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.status import ErrorCode
from service.errors import LeaseLost
from service.store import checkpoints, epochs
from service.store.engine import Database
from service.store.jobs import events, leases
from service.store.jobs.claim import Claim
from service.training.progress import ProgressCounter
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer
from tests.store.records import claim

SPEC: dict[str, Any] = {"max_epochs": 12, "early_stopping": None, "architecture": {"hidden": [8], "dropout": 0.2}}


class Told:
    """A supervisor's end of the pipe that says "stop" after so many epochs; 0: never."""

    def __init__(self, epochs: int = 0) -> None:
        self._left = epochs

    def poll(self) -> bool:
        self._left -= 1
        return self._left == 0


class Gone(Told):
    """After so many epochs the process is gone."""

    def poll(self) -> bool:
        if super().poll():
            raise SystemExit
        return False


def attempt(
    database: Database, artifacts: Artifacts, pipe: Told, *, width: int = 1, keep: str = "last,state"
) -> list[Claim]:
    claims = claim(database, width=width)
    if not claims:
        return []
    policy = CheckpointPolicy(0.0, frozenset(keep.split(",")))
    own = Trainer(database, artifacts, torch.device("cpu"), cast("Connection", pipe), ProgressCounter(), policy)
    try:
        own.run(claims)
    except SystemExit:
        error = JobError(code=ErrorCode.worker_lost, message="gone")
        with database.transaction() as connection:
            for each in claims:
                with suppress(LeaseLost):  # it had ended, or was released
                    leases.record_crash(connection, each.job_id, each.attempt, error)
    return claims


def outcome(database: Database, job_id: str) -> tuple[list[Epoch], dict[str, str]]:
    """The history but for its seconds, and the SHA-256 of each checkpoint."""
    with database.reading() as connection:
        rows = epochs.read(connection, job_id)
        files = checkpoints.find(connection, job_id)
    return [row.model_copy(update={"seconds": 0.0}) for row in rows], {file.kind: file.sha256 for file in files}


def state(database: Database, job_id: str) -> Checkpoint:
    with database.reading() as connection:
        return checkpoints.get(connection, job_id, CheckpointKind.state)


def log(database: Database, job_id: str) -> list[tuple[EventKind, str]]:
    """What its log says but for the best epochs."""
    with database.reading() as connection:
        found = events.read(connection, job_id, limit=100)
    return [(event.kind, event.message) for event in found if event.kind != EventKind.best]
