"""Worker registry: heartbeats of workers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sqlalchemy import delete, func, insert, select, update

from service.domain.status import Status
from service.spec.base import FrozenModel
from service.store.schema import jobs
from service.store.tenancy import in_tenant
from service.store.utc import ago
from service.store.worker_tables import gang_members, workers

if TYPE_CHECKING:
    from sqlalchemy import Connection

DEAD_AFTER = timedelta(minutes=1)
DELETED_AFTER = timedelta(days=1)  # rows of workers that did not deregister


class WorkerInfo(FrozenModel):
    """A worker: a supervisor and its trainer processes."""

    id: str
    """The worker's id."""
    object: Literal["worker"] = "worker"
    """What this JSON object is."""
    hostname: str
    """Host name of its machine."""
    pid: int
    """Process id of the supervisor."""
    trainers: int
    """Number of trainer processes."""
    device: str
    """Training device."""
    labels: dict[str, str] = {}
    """Its labels, which jobs may ask for."""
    preemptible: bool = False
    """Whether its machine may be taken away at short notice."""
    jobs: list[str]
    """Ids of the jobs that it trains now."""
    started_at: datetime
    """Start time (UTC)."""
    claims: int = 0
    """Number of claims since it started."""
    claimed: int = 0
    """Number of jobs claimed since it started."""
    claim_seconds: float = 0.0
    """Total duration of these claims."""
    waited_seconds: float = 0.0
    """Total queue time of these jobs, from submission to their first claim."""
    lapsed_leases: int = 0
    """Number of expired leases of other workers whose jobs it has requeued."""
    trainer_restarts: int = 0
    """Number of its trainer processes that died and were replaced."""
    seen_at: datetime
    """Time of its last heartbeat (UTC)."""


def heartbeat(connection: Connection, worker: WorkerInfo) -> None:
    """Register this worker or update its row, with the current time."""
    row = worker.model_dump(exclude={"object", "jobs"}) | {"seen_at": ago(connection)}
    if connection.execute(update(workers).where(workers.c.id == worker.id).values(row)).rowcount == 0:
        dead = select(workers.c.id).where(workers.c.seen_at < ago(connection, DELETED_AFTER)).order_by(workers.c.id)
        ids = connection.scalars(dead.with_for_update(skip_locked=True)).all()
        connection.execute(delete(workers).where(workers.c.id.in_(ids)))
        connection.execute(insert(workers).values(row))


def deregister(connection: Connection, worker_id: str) -> None:
    """Delete a worker's row when it stops, and what it has reserved for a gang."""
    connection.execute(delete(gang_members).where(gang_members.c.worker == worker_id))
    connection.execute(delete(workers).where(workers.c.id == worker_id))


def class_is_live(connection: Connection, *, preemptible: bool) -> bool:
    """Whether a worker of this class has sent a heartbeat within the last minute."""
    alive = workers.c.seen_at > ago(connection, DEAD_AFTER), workers.c.preemptible == preemptible
    return connection.scalar(select(workers.c.id).where(*alive).limit(1)) is not None


def count_live(connection: Connection) -> int:
    """Workers with a heartbeat within the last minute."""
    return connection.scalar(select(func.count()).where(workers.c.seen_at > ago(connection, DEAD_AFTER))) or 0


def trainers_of_kind(connection: Connection, kind: str) -> int:
    """The trainers of all live workers whose devices are of this kind: cpu or cuda."""
    alive = workers.c.seen_at > ago(connection, DEAD_AFTER), workers.c.device.startswith(kind)
    return connection.scalar(select(func.sum(workers.c.trainers)).where(*alive)) or 0


def find(connection: Connection) -> list[WorkerInfo]:
    """Workers with a heartbeat within the last minute, and those of their jobs that belong to the tenant."""
    alive = select(workers).where(workers.c.seen_at > ago(connection, DEAD_AFTER)).order_by(workers.c.id)
    running = select(jobs.c.worker, jobs.c.id).where(in_tenant(connection, jobs), jobs.c.status == Status.running)
    running_jobs: dict[str, list[str]] = {}
    for row in connection.execute(running.order_by(jobs.c.id)):
        running_jobs.setdefault(row.worker, []).append(row.id)
    return [
        WorkerInfo.model_validate({**row._mapping, "jobs": running_jobs.get(row.id, [])})
        for row in connection.execute(alive)
    ]
