"""The worker's side of the jobs table: claim, renew, record, finish; a trainer's writes are fenced by its attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import and_, case, func, literal, null, or_, select, update

from service.errors import LeaseLost
from service.lifecycle import Control, ErrorCode, JobError, Status, StopReason
from service.spec.job import JobSpec
from service.store.engine import lease_clock
from service.store.jobs import touched
from service.store.tables import jobs

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection


MAX_FAILURES = 3
_LET_GO: dict[str, Any] = {"worker": None, "lease_until": None, "lease_boot": None, "eta_seconds": None}


@dataclass(frozen=True)
class Claim:
    """One attempt at one job: `attempt` is the fence that each of its writes carries."""

    job_id: str
    attempt: int
    spec: JobSpec


@dataclass(frozen=True)
class Outcome:
    """How an attempt ends a job."""

    status: Status
    stop_reason: StopReason | None = None
    test: dict[str, float | None] | None = None
    error: JobError | None = None


def claim(
    connection: Connection, worker: str, devices: Collection[str], *, width: int, trainers: int, seconds: float
) -> list[Claim]:
    """Take the first queued job that one of `devices` can train, and others like it, to be trained as one array.

    At most `width` jobs, fewer where the network is large, and no more than a fair share among `trainers` that are
    free. A job that has crashed before goes alone, so that a poisonous one fails alone. No two claimers get the same
    job. The lease holds for `seconds` unless renewed.
    """
    can = and_(jobs.c.status == Status.queued, jobs.c.device_request.in_(["auto", *devices]))
    first = select(jobs.c.id, jobs.c.tenant, jobs.c.array_key, jobs.c.array_limit, jobs.c.failures)
    head = connection.execute(first.where(can).order_by(jobs.c.priority.desc(), jobs.c.id).limit(1)).first()
    if head is None:
        return []
    alike = and_(can, jobs.c.tenant == head.tenant, jobs.c.array_key == head.array_key, jobs.c.failures == 0)
    width = min(width, head.array_limit)
    company = head.failures == 0 and width > 1
    if company:
        some = select(literal(1)).where(alike).limit(width * trainers)
        width = min(width, -(-(connection.scalar(select(func.count()).select_from(some.subquery())) or 0) // trainers))
    picked = (
        select(jobs.c.id)
        .where(alike if company else and_(can, jobs.c.id == head.id))
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(width if company else 1)
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    now, boot = lease_clock(connection)
    values = touched(
        status=Status.running,
        attempt=jobs.c.attempt + 1,
        worker=worker,
        lease_until=now + seconds,
        lease_boot=boot,
        started_at=datetime.now(UTC),
    )
    statement = update(jobs).where(jobs.c.id.in_(select(picked.c.id))).values(values)
    rows = connection.execute(statement.returning(jobs.c.id, jobs.c.attempt, jobs.c.priority, jobs.c.spec))
    ordered = sorted(rows, key=lambda row: (-row.priority, row.id))
    claims = []
    for row in ordered:
        try:
            claims.append(Claim(row.id, row.attempt, JobSpec.model_validate(row.spec)))
        except ValidationError as problem:
            message = f"this version cannot read the job's spec: {problem.errors()[0]['msg']}"
            error = JobError(code=ErrorCode.invalid_spec, message=message)
            finish(connection, row.id, row.attempt, Outcome(Status.failed, error=error))
    return claims


def has_queued(connection: Connection) -> bool:
    """Whether anything waits: a look that takes no lock."""
    return connection.scalar(select(jobs.c.id).where(jobs.c.status == Status.queued).limit(1)) is not None


def renew(connection: Connection, worker: str, job_ids: Collection[str], seconds: float) -> None:
    """Renew this worker's leases on these jobs, in one statement; a job that it has lost sight of lapses."""
    now, boot = lease_clock(connection)
    held = and_(jobs.c.id.in_(list(job_ids)), jobs.c.worker == worker, jobs.c.status == Status.running)
    connection.execute(update(jobs).where(held).values(lease_until=now + seconds, lease_boot=boot))


def has_lapsed(connection: Connection) -> bool:
    """Whether a worker has let the lease of a job lapse: a look that takes no lock."""
    return connection.scalar(select(jobs.c.id).where(_lapsed(connection)).limit(1)) is not None


def reap(connection: Connection) -> int:
    """Take jobs from workers that have let their lease lapse, as `crashed` would; how many there were."""
    error = JobError(code=ErrorCode.worker_lost, message="its worker gave no sign of life; this was the last try")
    return _give_up(connection, _lapsed(connection), error)


def _lapsed(connection: Connection) -> ColumnElement[bool]:
    now, boot = lease_clock(connection)
    return and_(jobs.c.status == Status.running, or_(jobs.c.lease_until < now, jobs.c.lease_boot != boot))


def crashed(connection: Connection, job_id: str, attempt: int, error: JobError) -> None:
    """The trainer died: back to the queue; cancelled if that was asked for; failed with `error` at the third crash."""
    if _give_up(connection, _owned(job_id, attempt), error) == 0:
        raise LeaseLost


def _give_up(connection: Connection, which: ColumnElement[bool], error: JobError) -> int:
    cancelled = jobs.c.control == Control.cancel
    spent = jobs.c.failures + 1 >= MAX_FAILURES
    values = touched(
        status=case((cancelled, Status.cancelled), (spent, Status.failed), else_=Status.queued),
        failures=jobs.c.failures + 1,
        stop_reason=case((cancelled, StopReason.cancelled), else_=None),
        finished_at=case((or_(cancelled, spent), datetime.now(UTC)), else_=None),
        error=case(
            (cancelled, null()), (spent, literal(error.model_dump(mode="json"), jobs.c.error.type)), else_=null()
        ),
        control=None,
        **_LET_GO,
    )
    return connection.execute(update(jobs).where(which).values(values)).rowcount


def release(connection: Connection, job_id: str, attempt: int) -> None:
    """Give the job back unharmed, as a worker does when it is told to stop; raises LeaseLost."""
    cancelled = jobs.c.control == Control.cancel
    values = touched(
        status=case((cancelled, Status.cancelled), else_=Status.queued),
        stop_reason=case((cancelled, StopReason.cancelled), else_=None),
        finished_at=case((cancelled, datetime.now(UTC)), else_=None),
        control=None,
        **_LET_GO,
    )
    _fenced(connection, job_id, attempt, values)


def finish(connection: Connection, job_id: str, attempt: int, outcome: Outcome) -> None:
    """End the job; raises LeaseLost when another attempt owns it."""
    values = touched(
        status=outcome.status,
        stop_reason=outcome.stop_reason,
        test_metrics=outcome.test,
        error=outcome.error and outcome.error.model_dump(mode="json"),
        finished_at=datetime.now(UTC),
        control=None,
        lease_until=None,
        lease_boot=None,
        eta_seconds=None,
    )
    _fenced(connection, job_id, attempt, values)


def _owned(job_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == Status.running)


def _fenced(connection: Connection, job_id: str, attempt: int, values: dict[str, Any]) -> Control | None:
    """Write to the job if this attempt still owns it; the control it had before. Raises LeaseLost otherwise."""
    statement = update(jobs).where(_owned(job_id, attempt)).values(values).returning(jobs.c.control)
    row = connection.execute(statement).first()
    if row is None:
        raise LeaseLost
    return None if row.control is None else Control(row.control)
