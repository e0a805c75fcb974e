"""Gangs: jobs on more devices than one worker has free. Workers reserve trainers for the job, and start together.

A worker that has too few free trainers for a queued job joins its gang: it reserves some of its trainers, which go on
with other jobs until enough workers have joined: then the gang is complete. Each keeps its trainers free from then on
and says when all are, and the last one claims the job and leads it. A complete gang that is not ready at its deadline
is dissolved; members of an incomplete one look again and again whether it can still be completed. The workers of a gang
are of one kind, CPU or GPU; both kinds may form gangs for the same job. Members renew a lease, so a gang does not wait
for a dead worker. A transaction that changes a gang locks its job first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, func, insert, literal, select, update

from service.domain.status import Status
from service.store.engine import lease_clock
from service.store.jobs.attempt import owned_by, release
from service.store.jobs.claim import Claim, claim_these, count_running, running_claim
from service.store.jobs.gang_order import WAITING, Member, candidate, living
from service.store.schema import jobs
from service.store.worker_tables import gang_members

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


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

    @property
    def leads(self) -> bool:
        """Whether this worker has claimed the job."""
        return self.own.start == 0


Step = Reservation | Dissolved | Start | None


def has_work(connection: Connection, worker: str) -> bool:
    """Whether a job waits for several devices, or the worker is a member of a gang; takes no lock."""
    waiting = select(literal(1)).where(*WAITING)
    own = select(literal(1)).where(gang_members.c.worker == worker)
    return any(connection.scalar(query.limit(1)) for query in (waiting, own))


def step(connection: Connection, by: Member, skipped: Collection[str], *, max_running: int = 0) -> Step:
    """What the worker does next; joins a gang if a job waits for one.

    `skipped`: jobs whose gangs were dissolved. `max_running`: a tenant's limit on running jobs; 0: none.
    """
    own = _job_of(connection, by.worker)
    if own is not None:
        return _advance(connection, by, own, skipped, max_running)
    if by.joined is not None:
        return Dissolved(by.joined)
    job_id = candidate(connection, by, skipped, max_running)
    if job_id is None or not _join(connection, by, job_id):
        return None
    return _advance(connection, by, job_id, skipped, max_running)


def renew(connection: Connection, worker: str, seconds: float) -> None:
    """Renew the lease of this worker's reservation or ranks."""
    now, boot = lease_clock(connection)
    own = gang_members.c.worker == worker
    connection.execute(update(gang_members).where(own).values(lease_until=now + seconds, lease_boot=boot))


def leave(connection: Connection, worker: str) -> None:
    """Delete this worker's reservation: its ranks have ended, or it stops."""
    connection.execute(delete(gang_members).where(gang_members.c.worker == worker))


def withdraw(connection: Connection, worker: str) -> None:
    """The worker stops before its ranks have started: delete its reservation, and requeue the job if the others have
    just started."""
    job_id = _job_of(connection, worker)
    if job_id is None:
        return
    job = _locked(connection, job_id)
    ready = {
        row.worker: row.ready
        for row in connection.execute(select(gang_members.c.worker, gang_members.c.ready).where(_of(job_id)))
    }
    if job.status == Status.running and job.worker in ready and ready[worker]:
        release(connection, job_id, job.attempt)
    leave(connection, worker)


def is_running(connection: Connection, claim: Claim) -> bool:
    """Whether this attempt still owns its job."""
    return connection.scalar(select(jobs.c.id).where(owned_by(claim.job_id, claim.attempt))) is not None


def has_lost_member(connection: Connection, job_id: str) -> bool:
    """Whether a worker that trains ranks of this job has left, or its lease has lapsed; False for a single worker."""
    living_ranks = func.sum(case((living(connection), gang_members.c.ranks), else_=0))
    wanted = select(jobs.c.ranks).where(jobs.c.id == job_id).scalar_subquery()
    return bool(connection.scalar(select(living_ranks < wanted).where(_of(job_id))))


def _join(connection: Connection, by: Member, job_id: str) -> bool:
    """Reserve trainers of this worker; False if others have reserved enough."""
    job = _locked(connection, job_id)
    if job is None or job.status != Status.queued:
        return False
    _expel_lapsed(connection, job_id)
    gang = _of(job_id, by.kind)
    reserved = connection.scalar(select(func.sum(gang_members.c.ranks)).where(gang)) or 0
    ranks = min(by.trainers, job.ranks - reserved)
    if ranks < 1:
        return False
    now, boot = lease_clock(connection)
    row = {
        "job_id": job_id,
        "worker": by.worker,
        "kind": by.kind,
        "ranks": ranks,
        "ready": False,
        "deadline": now + by.gang_seconds,
        "lease_until": now + by.lease_seconds,
        "lease_boot": boot,
    }
    connection.execute(insert(gang_members).values(row))
    if reserved + ranks == job.ranks:
        connection.execute(update(gang_members).where(gang).values(deadline=now + by.gang_seconds))
    return True


def _advance(connection: Connection, by: Member, job_id: str, skipped: Collection[str], max_running: int) -> Step:
    """Say whether the reserved trainers are free; claim the job if all are, or follow the worker that has."""
    job = _locked(connection, job_id)
    renew(connection, by.worker, by.lease_seconds)
    _expel_lapsed(connection, job_id)
    members = _members(connection, job_id, by.kind)
    own = next((member for member in members if member.worker == by.worker), None)
    if job is None or own is None:
        return None
    if job.status != Status.queued:
        start = _start(connection, job, members, own) if own.ready else None
        if start is None:
            leave(connection, by.worker)
        return start
    complete = sum(member.ranks for member in members) >= job.ranks
    if not complete and candidate(connection, by, skipped, max_running) != job_id:
        leave(connection, by.worker)
        return None
    ready = complete and by.free >= own.ranks
    if ready and all(member.ready for member in members if member is not own):
        if not max_running or count_running(connection, job.tenant) < max_running:
            return _lead(connection, by, job_id, own.ranks)
        return _dissolve(connection, by, job_id)  # others of the tenant's jobs were faster
    if complete and own.left < 0:
        return _dissolve(connection, by, job_id)
    _set_ready(connection, by.worker, ready)
    return Reservation(job_id, own.ranks, complete, own.left)


def _members(connection: Connection, job_id: str, kind: str) -> Sequence[Any]:
    now, _ = lease_clock(connection)
    left = (gang_members.c.deadline - now).label("left")
    query = select(gang_members.c.worker, gang_members.c.ranks, gang_members.c.ready, left).where(_of(job_id, kind))
    return connection.execute(query.order_by(gang_members.c.worker)).all()


def _lead(connection: Connection, by: Member, job_id: str, ranks: int) -> Start | None:
    """Claim the job; a gang of the other kind has come too late."""
    connection.execute(delete(gang_members).where(_of(job_id), gang_members.c.kind != by.kind))
    claims = claim_these(connection, [job_id], by.worker, by.lease_seconds)
    return Start(claims[0], range(ranks)) if claims else None


def _dissolve(connection: Connection, by: Member, job_id: str) -> Dissolved:
    connection.execute(delete(gang_members).where(_of(job_id, by.kind)))
    return Dissolved(job_id)


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


def _job_of(connection: Connection, worker: str) -> str | None:
    return connection.scalar(select(gang_members.c.job_id).where(gang_members.c.worker == worker))


def _locked(connection: Connection, job_id: str) -> Any:
    columns = (jobs.c[name] for name in ("id", "tenant", "status", "attempt", "ranks", "worker"))
    return connection.execute(select(*columns).where(jobs.c.id == job_id).with_for_update()).first()


def _of(job_id: str, kind: str | None = None) -> ColumnElement[bool]:
    of_job = gang_members.c.job_id == job_id
    return of_job if kind is None else and_(of_job, gang_members.c.kind == kind)


def _expel_lapsed(connection: Connection, job_id: str) -> None:
    connection.execute(delete(gang_members).where(_of(job_id), ~living(connection)))
