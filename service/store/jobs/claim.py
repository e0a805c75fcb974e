"""Claims queued jobs for a worker: the jobs of one claim are trained together as one array."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import func, select, update

from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status
from service.spec.job import JobSpec
from service.store.engine import lease_clock
from service.store.jobs import claim_order, events
from service.store.jobs.attempt import Outcome, finish
from service.store.jobs.claim_order import Claimant
from service.store.jobs.claim_queries import KNOWN
from service.store.jobs.events import NewEvent
from service.store.jobs.jobs import with_next_version
from service.store.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_CLAIMED = [
    jobs.c[name]
    for name in ("id", "attempt", "priority", "spec", "resolved", "forked", "created_at", "started_at", "epoch_limit")
]


@dataclass(frozen=True)
class Claim:
    """One attempt at one job. `attempt` is the fencing token that each of its writes carries."""

    job_id: str
    attempt: int
    spec: JobSpec
    forked: bool = False  # it needs the weights of the job that it was forked from
    waited_seconds: float = 0.0  # between submission and claim; 0 for later attempts
    resolved: dict[str, Any] | None = None  # input of `resolutions.read`; None: the trainer resolves the spec
    epoch_limit: int | None = None  # release the job after this epoch, unless it has ended; None: no limit


def claim_jobs(connection: Connection, by: Claimant, *, seconds: float, max_running: int = 0) -> list[Claim]:
    """Claim the next job and others that can be trained with it as one array; empty when nothing can be claimed.

    The tenant whose turn it is goes first (`claim_order`). Large networks make the claim smaller, and a job that has
    crashed before is claimed alone, so that it cannot take others down. No two workers get the same job. The lease
    holds for `seconds` unless renewed. `max_running`: a tenant's limit on running jobs; 0: none.
    """
    picked = _pick(connection, by, max_running)
    return claim_these(connection, picked, by.worker, seconds) if picked else []


def claim_these(connection: Connection, picked: Sequence[str], worker: str, seconds: float) -> list[Claim]:
    """Claim these queued jobs, which this transaction has locked."""
    now, boot = lease_clock(connection)
    values = with_next_version(
        status=Status.running,
        attempt=jobs.c.attempt + 1,
        worker=worker,
        lease_until=now + seconds,
        lease_boot=boot,
        started_at=datetime.now(UTC),
    )
    statement = update(jobs).where(jobs.c.id.in_(picked)).values(values)
    rows = sorted(connection.execute(statement.returning(*_CLAIMED)), key=lambda row: (-row.priority, row.id))
    details = {"worker": worker}
    events.append(connection, [NewEvent(row.id, EventKind.claimed, f"claimed by {worker}", details) for row in rows])
    return [claim for row in rows if (claim := _claim(connection, row)) is not None]


def running_claim(connection: Connection, job_id: str) -> Claim | None:
    """The claim of a running job, for the workers that train its other ranks."""
    row = connection.execute(select(*_CLAIMED).where(jobs.c.id == job_id, jobs.c.status == Status.running)).first()
    return None if row is None else _claim(connection, row)


def _claim(connection: Connection, row: Row[Any]) -> Claim | None:
    """The claim of this job; None where this version cannot read its spec, and then the job fails."""
    try:
        spec = JobSpec.model_validate(row.spec, extra="ignore")
    except ValidationError as problem:
        message = f"this version cannot read the job's spec: {problem.errors()[0]['msg']}"
        error = JobError(code=ErrorCode.invalid_spec, message=message)
        finish(connection, row.id, row.attempt, Outcome(Status.failed, error=error))
        return None
    waited = (row.started_at - row.created_at).total_seconds() if row.attempt == 1 else 0.0
    return Claim(row.id, row.attempt, spec, row.forked is not None, max(waited, 0.0), row.resolved, row.epoch_limit)


def _pick(connection: Connection, by: Claimant, max_running: int) -> Sequence[str]:
    """The ids of the jobs to claim, locked until the end of the transaction."""
    turns = claim_order.in_turn(connection, by, max_running)
    heads = ((turn, claim_order.head(connection, turn)) for turn in turns)
    turn, head = next(((turn, head) for turn, head in heads if head is not None), (None, None))
    if turn is None or head is None:
        return []
    width = by.width
    if max_running:
        width = min(width, max_running - count_running(connection, head.tenant))
        if width < 1:
            return []  # another worker was faster
    width = min(width, head.array_limit)
    if head.failures == 0 and width > 1:
        queued = claim_order.count_alike(connection, turn, head, width * by.trainers)
        width = -(-queued // by.trainers)
    if head.failures or width == 1:
        return [head.id]
    return claim_order.alike(connection, turn, head, width)


def count_running(connection: Connection, tenant: str) -> int:
    """How many jobs of this tenant run. Serialized per tenant: no other claim starts one until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(4718, func.hashtext(tenant))))
    running = select(func.count()).where(jobs.c.tenant == tenant, jobs.c.status == Status.running)
    return connection.scalar(running) or 0


def has_queued(connection: Connection) -> bool:
    """Whether any job is queued that this version can read; takes no lock."""
    return connection.scalar(select(jobs.c.id).where(jobs.c.status == Status.queued, KNOWN).limit(1)) is not None
