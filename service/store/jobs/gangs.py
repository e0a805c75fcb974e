"""Gangs: jobs on more devices than one worker has free. Workers reserve trainers for the job, and start together.

A worker that has too few free trainers for a queued job joins its gang: it reserves some of its trainers, which go on
with other jobs until enough workers have joined: then the gang is complete. Each keeps its trainers free from then on
and says when all are, and the last one claims the job and leads it. A complete gang that is not ready at its deadline
is dissolved. Members renew a lease, so a gang does not wait for a dead worker. A transaction that changes a gang locks
its job first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, func, insert, literal, literal_column, or_, select, update

from service.domain.status import Status
from service.store.engine import lease_clock
from service.store.jobs.claim import Claim, claim_these, running_claim
from service.store.jobs.claim_order import KNOWN
from service.store.schema import jobs
from service.store.worker_tables import gang_members
from service.store.workers import trainers_of_kind

if TYPE_CHECKING:
    from sqlalchemy import Connection


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


@dataclass(frozen=True)
class Reservation:
    """Trainers that the worker keeps free for a job."""

    job_id: str
    ranks: int
    complete: bool  # enough workers have joined
    seconds_left: float  # to the deadline of a complete gang

    @property
    def kept(self) -> int:
        """How many free trainers take no other jobs."""
        return self.ranks if self.complete else 0


@dataclass(frozen=True)
class Dissolved:
    """The gang of this job was not ready in time, or the worker was no member any more."""

    job_id: str


@dataclass(frozen=True)
class Start:
    """The job is claimed: the worker starts these of its ranks."""

    claim: Claim
    own: range


Step = Reservation | Dissolved | Start | None

# Literals, not parameters: planners then know that the partial index `ix_jobs_parallel` has all of these jobs.
_WAITING = jobs.c.status == literal_column(f"'{Status.queued.value}'"), jobs.c.ranks > literal_column("1")


def has_work(connection: Connection, worker: str) -> bool:
    """Whether a job waits for several devices, or the worker is a member of a gang; takes no lock."""
    waiting = select(literal(1)).where(*_WAITING)
    own = select(literal(1)).where(gang_members.c.worker == worker)
    return any(connection.scalar(query.limit(1)) for query in (waiting, own))


def step(connection: Connection, by: Member, skipped: Collection[str]) -> Step:
    """What the worker does next; joins a gang if a job waits for one. `skipped`: jobs whose gangs were dissolved."""
    own = connection.scalar(select(gang_members.c.job_id).where(gang_members.c.worker == by.worker))
    if own is not None:
        return _advance(connection, by, own)
    if by.joined is not None:
        return Dissolved(by.joined)
    job_id = _candidate(connection, by, skipped)
    if job_id is None or not _join(connection, by, job_id):
        return None
    return _advance(connection, by, job_id)


def renew(connection: Connection, worker: str, seconds: float) -> None:
    """Renew the lease of this worker's reservation or ranks."""
    now, boot = lease_clock(connection)
    own = gang_members.c.worker == worker
    connection.execute(update(gang_members).where(own).values(lease_until=now + seconds, lease_boot=boot))


def leave(connection: Connection, worker: str) -> None:
    """Delete this worker's reservation: its ranks have ended, or it stops."""
    connection.execute(delete(gang_members).where(gang_members.c.worker == worker))


def has_lost_member(connection: Connection, job_id: str) -> bool:
    """Whether a worker that trains ranks of this job has left, or its lease has lapsed; False for a single worker."""
    living = func.sum(case((_lapsed(connection, job_id), 0), else_=gang_members.c.ranks))
    wanted = select(jobs.c.ranks).where(jobs.c.id == job_id).scalar_subquery()
    return bool(connection.scalar(select(living < wanted).where(_of(job_id))))


def _candidate(connection: Connection, by: Member, skipped: Collection[str]) -> str | None:
    """The next queued job on more devices than this worker has free, and on no more than there are altogether.

    Jobs of higher priority of its tenant go first.
    """
    waiting = *_WAITING, jobs.c.id.not_in(list(skipped))
    other = jobs.alias()
    ahead = (
        select(literal(1))
        .where(other.c.status == Status.queued, other.c.tenant == jobs.c.tenant, other.c.priority > jobs.c.priority)
        .exists()
    )
    fitting = jobs.c.ranks > by.free, jobs.c.ranks <= trainers_of_kind(connection, by.kind)
    suited = jobs.c.device_request.in_(["auto", by.kind]), jobs.c.worker_labels.in_(list(by.labels))
    query = select(jobs.c.id).where(*waiting, *fitting, KNOWN, *suited, ~ahead)
    return connection.scalar(query.order_by(jobs.c.priority.desc(), jobs.c.id).limit(1))


def _join(connection: Connection, by: Member, job_id: str) -> bool:
    """Reserve trainers of this worker; False if others have reserved enough."""
    job = _locked(connection, job_id)
    if job is None or job.status != Status.queued:
        return False
    connection.execute(delete(gang_members).where(_lapsed(connection, job_id)))
    reserved = connection.scalar(select(func.sum(gang_members.c.ranks)).where(_of(job_id))) or 0
    ranks = min(by.trainers, job.ranks - reserved)
    if ranks < 1:
        return False
    now, boot = lease_clock(connection)
    row = {
        "job_id": job_id,
        "worker": by.worker,
        "ranks": ranks,
        "ready": False,
        "deadline": now + by.gang_seconds,
        "lease_until": now + by.lease_seconds,
        "lease_boot": boot,
    }
    connection.execute(insert(gang_members).values(row))
    if reserved + ranks == job.ranks:
        connection.execute(update(gang_members).where(_of(job_id)).values(deadline=now + by.gang_seconds))
    return True


def _advance(connection: Connection, by: Member, job_id: str) -> Step:
    """Say whether the reserved trainers are free; claim the job if all are, or follow the worker that has."""
    job = _locked(connection, job_id)
    renew(connection, by.worker, by.lease_seconds)
    connection.execute(delete(gang_members).where(_lapsed(connection, job_id)))
    now, _ = lease_clock(connection)
    left = (gang_members.c.deadline - now).label("left")
    members = connection.execute(
        select(gang_members.c.worker, gang_members.c.ranks, gang_members.c.ready, left)
        .where(_of(job_id))
        .order_by(gang_members.c.worker)
    ).all()
    own = next((member for member in members if member.worker == by.worker), None)
    if job is None or own is None:
        return None
    if job.status != Status.queued:
        start = _start(connection, job, members, own) if own.ready else None
        if start is None:
            leave(connection, by.worker)
        return start
    complete = sum(member.ranks for member in members) >= job.ranks
    if complete and own.left < 0:
        connection.execute(delete(gang_members).where(_of(job_id)))
        return Dissolved(job_id)
    ready = complete and by.free >= own.ranks
    if ready and all(member.ready for member in members if member is not own):
        claims = claim_these(connection, [job_id], by.worker, by.lease_seconds)
        return Start(claims[0], range(own.ranks)) if claims else None
    _set_ready(connection, by.worker, ready)
    return Reservation(job_id, own.ranks, complete, own.left)


def _set_ready(connection: Connection, worker: str, ready: bool) -> None:
    connection.execute(update(gang_members).where(gang_members.c.worker == worker).values(ready=ready))


def _start(connection: Connection, job: Any, members: Collection[Any], own: Any) -> Start | None:
    """The ranks of a member: those of the worker that leads come first, then those of the others by their ids."""
    order = sorted(members, key=lambda member: (member.worker != job.worker, member.worker))
    claim = running_claim(connection, job.id)
    if claim is None or own is order[0] or order[0].worker != job.worker:
        return None  # it has ended, or a worker that is no member trains it
    _set_ready(connection, own.worker, False)  # for another attempt, which may begin before these ranks have ended
    before = sum(member.ranks for member in order[: order.index(own)])
    return Start(claim, range(before, before + own.ranks))


def _locked(connection: Connection, job_id: str) -> Any:
    query = select(jobs.c.id, jobs.c.status, jobs.c.ranks, jobs.c.worker).where(jobs.c.id == job_id)
    return connection.execute(query.with_for_update()).first()


def _of(job_id: str) -> Any:
    return gang_members.c.job_id == job_id


def _lapsed(connection: Connection, job_id: str) -> Any:
    now, boot = lease_clock(connection)
    return and_(_of(job_id), or_(gang_members.c.lease_until < now, gang_members.c.lease_boot != boot))
