"""For which job workers form a gang: tenants in turn, then priority and age; gangs that form already go first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, literal, literal_column, or_, select, tuple_

from service.domain.status import Status
from service.spec.job import SPEC_VERSION
from service.spec.worker import parse_labels
from service.store.engine import lease_clock
from service.store.jobs.claim_order import UNLIMITED
from service.store.schema import jobs
from service.store.worker_tables import gang_members
from service.store.workers import live

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, FromClause, Subquery

    Shape = tuple[str, str, int, int]  # what a job asks for: device, labels, spec version and number of devices

# Literals, not parameters: planners then know that the partial index `ix_jobs_parallel` has all of these jobs.
WAITING = jobs.c.status == literal_column(f"'{Status.queued.value}'"), jobs.c.ranks > literal_column("1")


@dataclass(frozen=True)
class Member:
    """A worker that may train some ranks of a job."""

    worker: str
    kind: str  # of its devices: cpu or cuda
    trainers: int  # of all its trainers
    free: int
    lease_seconds: float
    gang_seconds: float  # from a complete gang to its deadline
    labels: Collection[str] = ("",)  # the subsets of its labels, as text
    joined: str | None = None  # the job for which it has reserved trainers, as far as it knows


def candidate(connection: Connection, by: Member, skipped: Collection[str], max_running: int) -> str | None:
    """The queued job whose gang this worker joins, or stays in while it is incomplete; None: there is none.

    It takes more devices than this worker has free, and no more than the live workers that can train it have.
    Gangs that are incomplete go first, the oldest job's before others, so that their members agree on one; then the
    tenant with the fewest running jobs. Within a tenant, any job of higher priority that this worker could train goes
    before. `skipped`: jobs whose gangs were dissolved. `max_running`: a tenant's limit on running jobs; 0: none.
    """
    fitting = _fitting(connection, by)
    if not fitting:
        return None
    members = gang_members.c.job_id == jobs.c.id, gang_members.c.kind == by.kind, living(connection)
    reserved = select(func.coalesce(func.sum(gang_members.c.ranks), 0)).where(*members)
    others = reserved.where(gang_members.c.worker != by.worker).scalar_subquery()
    turns = _turns()
    query = (
        select(jobs.c.id)
        .join(turns, turns.c.tenant == jobs.c.tenant)
        .where(*WAITING, _shape(jobs).in_(fitting), jobs.c.ranks > by.free, jobs.c.id.not_in(list(skipped)))
        .where(others < jobs.c.ranks, ~_ahead(by, fitting, skipped))
        .where(turns.c.running < (max_running or UNLIMITED))
    )
    forming = case((reserved.scalar_subquery() > 0, jobs.c.id)).nulls_last()
    turn = turns.c.running, turns.c.claimed_at.nulls_first()
    return connection.scalar(query.order_by(forming, *turn, jobs.c.priority.desc(), jobs.c.id).limit(1))


def living(connection: Connection) -> ColumnElement[bool]:
    """Members whose lease has not lapsed."""
    now, boot = lease_clock(connection)
    return and_(gang_members.c.lease_until >= now, gang_members.c.lease_boot == boot)


def _fitting(connection: Connection, by: Member) -> list[Shape]:
    """What queued jobs ask for that this worker suits, and for which there are enough trainers of its kind."""
    suited = _suits(jobs, by, {"auto", by.kind})
    found = connection.execute(select(*_shape(jobs).clauses).where(*WAITING, suited).distinct()).all()
    if not found:
        return []
    workers = live(connection)
    return [
        (device, labels, version, ranks)
        for device, labels, version, ranks in found
        if ranks <= workers.trainers(by.kind, parse_labels(labels), version)
    ]


def _turns() -> Subquery:
    """Tenants with a job that waits for several devices: how many of their jobs run, and when one was last claimed."""
    waiting = select(jobs.c.tenant).where(*WAITING).distinct().subquery("waiting")
    own = jobs.alias("own")
    of_tenant = own.c.tenant == waiting.c.tenant
    running = select(func.count()).where(of_tenant, own.c.status == Status.running).scalar_subquery()
    claimed_at = select(func.max(own.c.started_at)).where(of_tenant).scalar_subquery()
    return select(waiting.c.tenant, running.label("running"), claimed_at.label("claimed_at")).subquery("turns")


def _ahead(by: Member, fitting: Collection[Shape], skipped: Collection[str]) -> ColumnElement[bool]:
    """Whether a job of the same tenant has a higher priority, and this worker can train it, alone or in a gang."""
    other = jobs.alias("other")
    alone = and_(other.c.ranks <= by.trainers, _suits(other, by, {"auto", "cpu", by.kind}))
    before = other.c.tenant == jobs.c.tenant, other.c.priority > jobs.c.priority
    startable = or_(alone, _shape(other).in_(fitting)), other.c.id.not_in(list(skipped))
    return select(literal(1)).where(other.c.status == Status.queued, *before, *startable).exists()


def _suits(table: FromClause, by: Member, devices: Collection[str]) -> ColumnElement[bool]:
    here = table.c.device_request.in_(devices), table.c.worker_labels.in_(by.labels)
    return and_(table.c.spec_version <= SPEC_VERSION, *here)


def _shape(table: FromClause) -> Any:
    return tuple_(table.c.device_request, table.c.worker_labels, table.c.spec_version, table.c.ranks)
