"""Leases on running jobs: renews them, and requeues jobs whose lease has expired or whose trainer has crashed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, literal, null, or_, select, update

from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.status import Control, ErrorCode, Status, StopReason
from service.errors import LeaseLost
from service.store.engine import lease_clock
from service.store.jobs import events
from service.store.jobs.attempt import RELEASED, owned_by
from service.store.jobs.events import NewEvent, ended
from service.store.jobs.jobs import lock, with_next_version
from service.store.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection

MAX_FAILURES = 3


def renew(connection: Connection, worker: str, job_ids: Collection[str], seconds: float) -> None:
    """Renew this worker's leases on these jobs. Its other leases expire: it no longer knows of those jobs."""
    held = and_(jobs.c.id.in_(list(job_ids)), jobs.c.worker == worker, jobs.c.status == Status.running)
    locked = lock(connection, held)
    now, boot = lease_clock(connection)  # read after the wait for row locks
    connection.execute(update(jobs).where(jobs.c.id.in_(locked)).values(lease_until=now + seconds, lease_boot=boot))


def seconds_left(connection: Connection) -> float | None:
    """Seconds until the first lease expires, none or less if one has; None: no job runs. Takes no lock."""
    now, boot = lease_clock(connection)
    left = case((jobs.c.lease_boot != boot, 0.0), else_=jobs.c.lease_until - now)
    found: float | None = connection.scalar(select(func.min(left)).where(jobs.c.status == Status.running))
    return found


def reap(connection: Connection) -> int:
    """Take jobs from workers whose lease has expired, as `record_crash` does; returns their number."""
    error = JobError(code=ErrorCode.worker_lost, message="the lease expired: its worker sent no heartbeat")
    return _requeue(connection, _expired(connection), error)


def _expired(connection: Connection) -> ColumnElement[bool]:
    now, boot = lease_clock(connection)
    return and_(jobs.c.status == Status.running, or_(jobs.c.lease_until < now, jobs.c.lease_boot != boot))


def record_crash(connection: Connection, job_id: str, attempt: int, error: JobError) -> None:
    """Requeue a job whose trainer crashed with `error`.

    It is cancelled or paused instead if a client has asked for that, and fails at the third crash. Raises LeaseLost.
    """
    if _requeue(connection, owned_by(job_id, attempt), error) == 0:
        raise LeaseLost


def _requeue(connection: Connection, which: ColumnElement[bool], error: JobError) -> int:
    cancelled, paused = jobs.c.control == Control.cancel, jobs.c.control == Control.pause
    spent = jobs.c.failures + 1 >= MAX_FAILURES
    last = error.model_copy(update={"message": f"{MAX_FAILURES} crashes without progress; the last: {error.message}"})
    values = with_next_version(
        status=case(
            (cancelled, Status.cancelled), (spent, Status.failed), (paused, Status.paused), else_=Status.queued
        ),
        failures=jobs.c.failures + 1,
        stop_reason=case((cancelled, StopReason.cancelled), else_=None),
        finished_at=case((or_(cancelled, spent), datetime.now(UTC)), else_=None),
        error=case(
            (cancelled, null()), (spent, literal(last.model_dump(mode="json"), jobs.c.error.type)), else_=null()
        ),
        control=None,
        **RELEASED,
    )
    these = and_(which, jobs.c.id.in_(lock(connection, which)))
    rows = connection.execute(update(jobs).where(these).values(values).returning(jobs.c.id, jobs.c.status)).all()
    events.append(connection, [_event(row.id, Status(row.status), error, last) for row in rows])
    return len(rows)


def _event(job_id: str, status: Status, error: JobError, last: JobError) -> NewEvent:
    tail: dict[str, Any] = {"log_tail": error.log_tail} if error.log_tail else {}
    if status is Status.failed:
        return ended(job_id, status, None, last, **tail)
    if status is Status.cancelled:
        return ended(job_id, status, StopReason.cancelled, **tail)
    kind = EventKind.paused if status is Status.paused else EventKind.retried
    return NewEvent(job_id, kind, f"{status.value} again: {error.message}", {"code": error.code, **tail})
