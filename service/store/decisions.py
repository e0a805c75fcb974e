"""The decisions that sweeps take after their submission: each is recorded once, by whichever process is first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.domain.status import Status
from service.domain.sweep import Decision, DecisionKind
from service.errors import Conflict
from service.store.decision_tables import sweep_decisions
from service.store.epoch_limits import at_epoch_limit
from service.store.schema import jobs, sweeps
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from service.domain.sweep import NewDecision


AWAITED = exists().where(sweeps.c.tenant == jobs.c.tenant, sweeps.c.id == jobs.c.sweep_id, sweeps.c.pending)
"""Whether a job's sweep has decisions due, which depend on the job."""

# The job trains, or will without a decision.
_TRAINS = or_(
    jobs.c.status.in_([Status.queued, Status.running]),
    and_(jobs.c.status == Status.paused, ~at_epoch_limit()),
)


class AlreadyDecided(Exception):
    """Another process has taken the decision, or the sweep takes none any more."""


class PendingSweep(NamedTuple):
    """A sweep with decisions to take."""

    tenant: str
    id: str
    key: str | None
    """The id of the API key that submitted it."""
    due: bool
    """Whether the next decision may be due: no job trains, or the search has a budget in seconds."""


def pending(connection: Connection) -> list[PendingSweep]:
    """The sweeps with decisions to take, oldest first."""
    timed = sweeps.c.spec["search"]["seconds"].as_float().is_not(None)
    due = or_(~exists().where(jobs.c.sweep_id == sweeps.c.id, _TRAINS), timed)
    found = select(sweeps.c.tenant, sweeps.c.id, sweeps.c.key, due.label("due"))
    these = found.where(in_tenant(connection, sweeps), sweeps.c.pending).order_by(sweeps.c.id)
    return [PendingSweep(*row) for row in connection.execute(these)]


def count_undecided(connection: Connection) -> int:
    """Number of sweeps whose next decision is due as no job trains."""
    quiet = ~exists().where(jobs.c.sweep_id == sweeps.c.id, _TRAINS)
    return connection.scalar(select(func.count()).where(in_tenant(connection, sweeps), sweeps.c.pending, quiet)) or 0


def is_pending(connection: Connection, sweep_id: str) -> bool:
    """Whether a decision of the sweep is due."""
    due = select(sweeps.c.pending).where(in_tenant(connection, sweeps), sweeps.c.id == sweep_id)
    return bool(connection.scalar(due))


def refuse_if_awaited(connection: Connection, job_id: str) -> None:
    """Raise Conflict if decisions that are due depend on the job, even if it has ended."""
    these = in_tenant(connection, jobs), jobs.c.id == job_id
    if connection.scalar(select(jobs.c.id).where(*these, AWAITED)) is not None:
        raise Conflict("the decisions of the job's sweep depend on it; cancel the sweep first, or wait for its end")


def is_settled(connection: Connection, sweep_id: str) -> bool:
    """Whether none of the sweep's jobs trains, or will without a decision: each has ended, or is at its epoch limit."""
    one = select(jobs.c.id).where(in_tenant(connection, jobs), jobs.c.sweep_id == sweep_id, _TRAINS)
    return connection.scalar(one.limit(1)) is None


def has_stopped(connection: Connection, sweep_id: str) -> bool:
    """Whether the sweep's search has ended."""
    these = in_tenant(connection, sweep_decisions), sweep_decisions.c.sweep_id == sweep_id
    one = select(sweep_decisions.c.number).where(*these, sweep_decisions.c.kind == DecisionKind.stopped)
    return connection.scalar(one.limit(1)) is not None


def count(connection: Connection, sweep_id: str) -> int:
    """The number of decisions on record."""
    these = in_tenant(connection, sweep_decisions), sweep_decisions.c.sweep_id == sweep_id
    return connection.scalar(select(func.count()).where(*these)) or 0


def find(connection: Connection, sweep_id: str, *, limit: int | None = None, after: int = 0) -> list[Decision]:
    """Decisions of the sweep in order, at most `limit`, from number `after` + 1 on."""
    these = in_tenant(connection, sweep_decisions), sweep_decisions.c.sweep_id == sweep_id
    query = select(sweep_decisions).where(*these, sweep_decisions.c.number > after)
    rows = connection.execute(query.order_by(sweep_decisions.c.number).limit(limit))
    return [Decision(**{name: row._mapping[name] for name in Decision.model_fields}) for row in rows]


def take(
    connection: Connection, sweep_id: str, after: int, new: Sequence[NewDecision], *, ends: bool = False, **values: Any
) -> None:
    """Record these decisions, which follow the first `after` ones, in the transaction that carries them out.

    `ends`: no more are due. `values`: further columns of the sweep. Raises AlreadyDecided, and then the transaction
    must be rolled back.
    """
    due = and_(in_tenant(connection, sweeps), sweeps.c.id == sweep_id, sweeps.c.pending)
    if connection.execute(update(sweeps).where(due).values(pending=not ends, **values)).rowcount == 0:
        raise AlreadyDecided
    if count(connection, sweep_id) != after:  # nobody else decides now: the row of the sweep is locked
        raise AlreadyDecided
    record(connection, sweep_id, after, new)


def record(connection: Connection, sweep_id: str, after: int, new: Sequence[NewDecision]) -> None:
    """Record these decisions; raises AlreadyDecided if one of their numbers is taken."""
    tenant, now = tenant_of(connection), datetime.now(UTC)
    rows = [
        {"sweep_id": sweep_id, "number": number, "tenant": tenant, "created_at": now, **vars(each)}
        for number, each in enumerate(new, after + 1)
    ]
    if not rows:
        return
    try:
        connection.execute(insert(sweep_decisions), rows)
    except IntegrityError as error:
        raise AlreadyDecided from error
