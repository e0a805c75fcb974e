"""Trainers of claimed jobs, without a separate process, and what a job came to."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

import torch

from service.artifacts import Artifacts
from service.data.formats import prediction_table
from service.domain.checkpoint import CheckpointKind
from service.domain.job import Job
from service.domain.job_file import JobFile, JobFileKind
from service.store import checkpoints, epochs, job_files
from service.store.engine import Database
from service.store.jobs import jobs
from service.training.progress import ProgressCounter
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer
from tests.store.records import claim, job


def trainer(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection], save_seconds: float = 10.0
) -> Trainer:
    policy = CheckpointPolicy(save_seconds, frozenset({"last", "state", "predictions"}))
    return Trainer(database, artifacts, torch.device("cpu"), pipe[1], ProgressCounter(), policy)


def run(database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection], width: int = 1) -> Job:
    claims = claim(database, width=width)
    trainer(database, artifacts, pipe).run(claims)
    return job(database, claims[0].job_id)


def outcome(database: Database, artifacts: Artifacts, job_id: str) -> tuple[Any, ...]:
    """What a job came to, but for its times and ids."""
    with database.reading() as connection:
        ended = jobs.get(connection, job_id)
        rows = [row.model_dump(exclude={"seconds"}) for row in epochs.read(connection, job_id)]
        best = checkpoints.get(connection, job_id, CheckpointKind.best)
        kept = job_files.find(connection, job_id, JobFileKind.predictions)
    predictions = None if kept is None else predicted(artifacts, kept)
    return (
        ended.status,
        ended.stop_reason,
        ended.test,
        rows,
        artifacts.path(best.path, best.sha256).read_bytes(),
        predictions,
    )


def predicted(artifacts: Artifacts, kept: JobFile) -> dict[str, Any]:
    """Kept predictions to the bit, but for the job's id."""
    table = prediction_table.read(artifacts.path(kept.path, kept.sha256))
    arrays = {name: getattr(table, name) for name in ("row", "truth", "prediction", "probabilities")}
    return {"source": table.source.model_copy(update={"job": ""})} | {
        name: None if values is None else values.tobytes() for name, values in arrays.items()
    }
