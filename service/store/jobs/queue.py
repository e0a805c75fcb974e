"""The worker's side of the jobs table: claim, renew, record, finish; a trainer's writes are fenced by its attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import and_, case, func, literal, null, or_, select, update

from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.status import Control, ErrorCode, Status, StopReason
from service.errors import LeaseLost
from service.spec.job import JobSpec
from service.store.engine import lease_clock
from service.store.jobs import claim_order, events
from service.store.jobs.events import Entry, ended
from service.store.jobs.jobs import lock, touched
from service.store.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection, Row


MAX_FAILURES = 3
_LET_GO: dict[str, Any] = {"worker": None, "lease_until": None, "lease_boot": None, "eta_seconds": None}


@dataclass(frozen=True)
class Claim:
    """One attempt at one job: `attempt` is the fence that each of its writes carries."""

    job_id: str
    attempt: int
    spec: JobSpec
    forked: bool = False  # it goes on from another's weights, and cannot begin without them
    waited_seconds: float = 0.0  # since it was submitted; of a first attempt alone
    resolved: dict[str, Any] | None = None  # as `resolutions.read` takes it; None: the trainer resolves the spec


@dataclass(frozen=True)
class Outcome:
    """How an attempt ends a job."""

    status: Status
    stop_reason: StopReason | None = None
    test: dict[str, float | None] | None = None
    error: JobError | None = None


def claim(
    connection: Connection,
    worker: str,
    devices: Collection[str],
    *,
    width: int,
    trainers: int,
    seconds: float,
    most: int = 0,
) -> list[Claim]:
    """Take the first queued job that one of `devices` can train of the tenant whose turn it is, and others like it, to
    be trained as one array.

    At most `width` jobs, fewer where the network is large, and no more than a fair share among `trainers` that are
    free. A job that has crashed before goes alone, so that a poisonous one fails alone. No two claimers get the same
    job. The lease holds for `seconds` unless renewed. `most`: jobs of a tenant that may run at a time; 0: any number.
    """
    picked = _pick(connection, devices, width, trainers, most)
    if not picked:
        return []
    now, boot = lease_clock(connection)
    values = touched(
        status=Status.running,
        attempt=jobs.c.attempt + 1,
        worker=worker,
        lease_until=now + seconds,
        lease_boot=boot,
        started_at=datetime.now(UTC),
    )
    statement = update(jobs).where(jobs.c.id.in_(picked)).values(values)
    columns = [
        jobs.c[name] for name in ("id", "attempt", "priority", "spec", "resolved", "forked", "created_at", "started_at")
    ]
    rows = sorted(connection.execute(statement.returning(*columns)), key=lambda row: (-row.priority, row.id))
    by = {"worker": worker}
    events.append(connection, [Entry(row.id, EventKind.claimed, f"claimed by {worker}", by) for row in rows])
    claims = []
    for row in rows:
        try:
            spec, forked = JobSpec.model_validate(row.spec, extra="ignore"), row.forked is not None
            waited = (row.started_at - row.created_at).total_seconds() if row.attempt == 1 else 0.0
            claims.append(Claim(row.id, row.attempt, spec, forked, max(waited, 0.0), row.resolved))
        except ValidationError as problem:
            message = f"this version cannot read the job's spec: {problem.errors()[0]['msg']}"
            error = JobError(code=ErrorCode.invalid_spec, message=message)
            finish(connection, row.id, row.attempt, Outcome(Status.failed, error=error))
    return claims


def _pick(connection: Connection, devices: Collection[str], width: int, trainers: int, most: int) -> Sequence[str]:
    """The ids that `claim` takes, which nobody else can take until the transaction's end."""
    heads = (claim_order.head(connection, devices, tenant) for tenant in claim_order.in_turn(connection, devices, most))
    head = next((head for head in heads if head is not None), None)
    if head is None:
        return []
    if most:
        width = min(width, most - _running(connection, head.tenant))
        if width < 1:
            return []  # others were quicker
    width = min(width, head.array_limit)
    if head.failures == 0 and width > 1:
        width = -(-claim_order.count_alike(connection, devices, head, width * trainers) // trainers)
    if head.failures or width == 1:
        return [head.id]
    return claim_order.alike(connection, devices, head, width)


def _running(connection: Connection, tenant: str) -> int:
    """How many jobs of this tenant run; nobody else claims one until the transaction's end."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(4718, func.hashtext(tenant))))
    running = select(func.count()).where(jobs.c.tenant == tenant, jobs.c.status == Status.running)
    return connection.scalar(running) or 0


def has_queued(connection: Connection) -> bool:
    """Whether anything waits: a look that takes no lock."""
    return (
        connection.scalar(select(jobs.c.id).where(jobs.c.status == Status.queued, claim_order.KNOWN).limit(1))
        is not None
    )


def renew(connection: Connection, worker: str, job_ids: Collection[str], seconds: float) -> None:
    """Renew this worker's leases on these jobs; a job that it has lost sight of lapses."""
    held = and_(jobs.c.id.in_(list(job_ids)), jobs.c.worker == worker, jobs.c.status == Status.running)
    locked = lock(connection, held)
    now, boot = lease_clock(connection)  # after others' locks were waited for
    connection.execute(update(jobs).where(jobs.c.id.in_(locked)).values(lease_until=now + seconds, lease_boot=boot))


def has_lapsed(connection: Connection) -> bool:
    """Whether a worker has let the lease of a job lapse: a look that takes no lock."""
    return connection.scalar(select(jobs.c.id).where(_lapsed(connection)).limit(1)) is not None


def reap(connection: Connection) -> int:
    """Take jobs from workers that have let their lease lapse, as `crashed` would; how many there were."""
    error = JobError(code=ErrorCode.worker_lost, message="its worker gave no sign of life")
    return _give_up(connection, _lapsed(connection), error)


def _lapsed(connection: Connection) -> ColumnElement[bool]:
    now, boot = lease_clock(connection)
    return and_(jobs.c.status == Status.running, or_(jobs.c.lease_until < now, jobs.c.lease_boot != boot))


def crashed(connection: Connection, job_id: str, attempt: int, error: JobError) -> None:
    """The trainer died of `error`: back to the queue; cancelled or paused if that was asked for; failed at the third
    crash."""
    if _give_up(connection, _owned(job_id, attempt), error) == 0:
        raise LeaseLost


def _give_up(connection: Connection, which: ColumnElement[bool], error: JobError) -> int:
    cancelled, paused = jobs.c.control == Control.cancel, jobs.c.control == Control.pause
    spent = jobs.c.failures + 1 >= MAX_FAILURES
    last = error.model_copy(update={"message": f"{MAX_FAILURES} crashes without getting on; the last: {error.message}"})
    values = touched(
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
        **_LET_GO,
    )
    these = and_(which, jobs.c.id.in_(lock(connection, which)))
    rows = connection.execute(update(jobs).where(these).values(values).returning(jobs.c.id, jobs.c.status)).all()
    events.append(connection, [_given_up(row.id, Status(row.status), error, last) for row in rows])
    return len(rows)


def _given_up(job_id: str, status: Status, error: JobError, last: JobError) -> Entry:
    tail: dict[str, Any] = {"log_tail": error.log_tail} if error.log_tail else {}
    if status is Status.failed:
        return ended(job_id, status, None, last, **tail)
    if status is Status.cancelled:
        return ended(job_id, status, StopReason.cancelled, **tail)
    kind = EventKind.paused if status is Status.paused else EventKind.retried
    return Entry(job_id, kind, f"{status.value} again: {error.message}", {"code": error.code, **tail})


def release(connection: Connection, job_id: str, attempt: int) -> None:
    """Give the job back unharmed, as it is to be paused or its worker is told to stop; raises LeaseLost."""
    cancelled, paused = jobs.c.control == Control.cancel, jobs.c.control == Control.pause
    values = touched(
        status=case((cancelled, Status.cancelled), (paused, Status.paused), else_=Status.queued),
        stop_reason=case((cancelled, StopReason.cancelled), else_=None),
        finished_at=case((cancelled, datetime.now(UTC)), else_=None),
        control=None,
        **_LET_GO,
    )
    job = _fenced(connection, job_id, attempt, values)
    after = {"epoch": job.epoch}
    if job.status == Status.cancelled:
        entry = ended(job_id, Status.cancelled, StopReason.cancelled)
    elif job.status == Status.paused:
        entry = Entry(job_id, EventKind.paused, f"paused after epoch {job.epoch}", after)
    else:
        entry = Entry(job_id, EventKind.released, f"given back after epoch {job.epoch}: its worker stops", after)
    events.append(connection, [entry])


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
    events.append(connection, [ended(job_id, outcome.status, outcome.stop_reason, outcome.error)])


def _owned(job_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == Status.running)


def _fenced(connection: Connection, job_id: str, attempt: int, values: dict[str, Any]) -> Row[Any]:
    """Write to the job if this attempt still owns it; its status and epoch now. Raises LeaseLost otherwise."""
    statement = update(jobs).where(_owned(job_id, attempt)).values(values)
    row = connection.execute(statement.returning(jobs.c.status, jobs.c.epoch)).first()
    if row is None:
        raise LeaseLost
    return row
