"""Helpers that write rows for the tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.epoch import Epoch
from service.domain.job import Job, JobError
from service.domain.status import ErrorCode
from service.errors import LeaseLost
from service.spec.read_options import FileFormat, ReadAs
from service.spec.table import Column, ColumnType, Dataset
from service.store.engine import Database
from service.store.jobs import actions, jobs, leases
from service.store.jobs.attempt import AttemptRecord, BestSoFar, write
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.specs import synthetic

CRASH = JobError(code=ErrorCode.worker_lost, message="it died", log_tail="Segmentation fault")


def submit_limited(database: Database, epoch_limit: int, **fields: Any) -> Job:
    """Submit a job as a search does: its first trial, with a limit of epochs."""
    with database.transaction(DEFAULT_TENANT) as connection:
        row = jobs.new_row(synthetic(**fields), DEFAULT_TENANT, trial=1, epoch_limit=epoch_limit)
        jobs.add(connection, [row])
        return jobs.get(connection, row["id"])


def submit(database: Database, **fields: Any) -> Job:
    with database.transaction(DEFAULT_TENANT) as connection:
        return jobs.submit(connection, synthetic(**fields), max_queued=1_000)[0]


def claim(
    database: Database, worker: str = "wrk_1", *, width: int = 1, trainers: int = 1, seconds: float = 15.0
) -> list[Claim]:
    with database.transaction() as connection:
        return claim_jobs(connection, Claimant(worker, {"cpu"}, width=width, trainers=trainers), seconds=seconds)


def resume(connection: Connection, job_id: str) -> Job:
    return actions.resume(connection, job_id, max_queued=1_000)


def job(database: Database, job_id: str) -> Job:
    with database.reading() as connection:
        return jobs.get(connection, job_id)


def epoch(number: int, **fields: Any) -> Epoch:
    values = {"train_loss": 0.5, "val_loss": 1 / number, "metrics": {"val_accuracy": 0.5}, "lr": 0.01, "seconds": 0.1}
    decision = {"improved": True, "is_best": True, "wait": 0, "closeness": 0.0, "reason": "the best so far"}
    return Epoch.model_validate({"epoch": number, **values, **decision, **fields})


def record(database: Database, claim: Claim, *epochs: Epoch) -> Any:
    """Record epochs; returns the pending request of the job. Raises LeaseLost."""
    best = BestSoFar(epochs[-1].epoch, 0.5, {"val_loss": 0.5})
    with database.transaction() as connection:
        written = write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, epochs, best, eta_seconds=1.0)])
    if claim.job_id not in written.controls:
        raise LeaseLost
    return written.controls[claim.job_id]


def publish(database: Database, claim: Claim, *files: Checkpoint) -> frozenset[str]:
    """Publish checkpoints; returns the artifact keys that they replace."""
    with database.transaction() as connection:
        return write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, published=files)]).replaced


def checkpoint(kind: CheckpointKind, number: int) -> Checkpoint:
    return Checkpoint(
        kind=kind,
        epoch=number,
        metrics={"val_loss": 0.5},
        sha256="ab" * 32,
        size_bytes=10,
        path=f"checkpoints/{number}",
        download_url="",
        created_at=datetime.now(UTC),
    )


def dataset(dataset_id: str = "ds_1", sha256: str = "ab" * 32) -> Dataset:
    return Dataset(
        id=dataset_id,
        name="penguins",
        rows=3,
        columns=[Column(name=name, type=ColumnType.number, missing=0, distinct=3) for name in "ab"],
        null_values=["NA"],
        read_as=ReadAs(format=FileFormat.csv, delimiter=","),
        warnings=[],
        sha256=sha256,
        source_bytes=10,
        parquet_sha256="cd" * 32,
        parquet_bytes=20,
        created_at=datetime.now(UTC),
    )


def crash(database: Database, job_id: str, attempt: int) -> None:
    with database.transaction() as connection:
        leases.record_crash(connection, job_id, attempt, CRASH)
