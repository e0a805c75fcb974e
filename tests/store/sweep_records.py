"""Sweeps in a database for tests: created, trained, read; and the statements that a reader executes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from service.domain.access import DEFAULT_TENANT
from service.domain.job import Job
from service.domain.status import Status, StopReason
from service.domain.sweep import Sweep
from service.spec.data import DatasetData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.spec.sweep import SweepSpec, changed, expand
from service.store import sweeps
from service.store.engine import Database
from service.store.jobs import attempt, jobs
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from service.store.sweeps import SweepJob
from tests.store.records import claim, epoch

BASE: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 60, "features": 3}}


def plan(**fields: Any) -> tuple[SweepSpec, list[SweepJob]]:
    spec = SweepSpec.model_validate({"base": BASE, **fields})
    planned = []
    for point in expand(spec):
        job = JobSpec.model_validate(changed(spec.base, point.changes))
        assert not isinstance(job.data, DatasetData)
        planned.append(SweepJob(point.changes, resolve(job, profile_of(job.data))))
    return spec, planned


def create(database: Database, *, max_queued: int = 10_000, **fields: Any) -> Sweep:
    new = sweeps.prepare(*plan(**fields), DEFAULT_TENANT)
    staged: list[str] = []
    for chunk in new.chunks:
        with database.transaction(DEFAULT_TENANT) as connection:
            jobs.stage(connection, chunk)
        staged += [job["id"] for job in chunk]
    with database.transaction(DEFAULT_TENANT) as connection:
        return sweeps.create(connection, new, staged=staged, max_queued=max_queued)[0]


def get(database: Database, sweep: Sweep) -> Sweep:
    with database.reading() as connection:
        return sweeps.get(connection, sweep.id)


def jobs_of(database: Database, sweep: Sweep) -> list[Job]:
    """The sweep's jobs in submission order."""
    with database.reading() as connection:
        return jobs.find(connection, jobs.JobFilter(sweep=sweep.id), limit=10_000)[::-1]


def train(database: Database, status: Status = Status.succeeded, **metrics: float | None) -> str:
    """Claim the next job and end it with these metrics at its best epoch; returns its id."""
    (taken,) = claim(database)
    best = BestSoFar(2, 0.0, metrics) if metrics else None
    reason = StopReason.max_epochs if status is Status.succeeded else None
    with database.transaction() as connection:
        write(connection, "cpu", [AttemptRecord(taken.job_id, taken.attempt, [epoch(1), epoch(2)], best)])
        attempt.finish(connection, taken.job_id, taken.attempt, Outcome(status, reason))
    return taken.job_id


@contextmanager
def counting(connection: Connection) -> Iterator[list[str]]:
    """Collect the statements executed inside, except BEGIN."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if not sql.startswith("BEGIN"):
            statements.append(sql)

    event.listen(connection, "before_cursor_execute", note)
    yield statements
    event.remove(connection, "before_cursor_execute", note)
