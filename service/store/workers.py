"""Worker registry: heartbeats of workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, insert, select, update

from service.domain.status import Status
from service.spec.base import FrozenModel
from service.spec.job import SPEC_VERSION
from service.store.schema import jobs
from service.store.tenancy import in_tenant
from service.store.utc import ago
from service.store.worker_tables import gang_members, workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

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
    spec_version: int = SPEC_VERSION
    """The newest version of job specs that it reads."""
    jobs: list[str]
    """Ids of the jobs that it trains now, also of those on several devices that another worker leads."""
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


@dataclass(frozen=True)
class LiveWorkers:
    """The workers that have sent a heartbeat within the last minute."""

    _rows: Sequence[Row[Any, Any, Any, Any, Any]]

    def __len__(self) -> int:
        return len(self._rows)

    def has_class(self, *, preemptible: bool) -> bool:
        """Whether any is of this class."""
        return any(each.preemptible == preemptible for each in self._rows)

    def trainers(self, kind: str, labels: Mapping[str, str] | None = None, spec_version: int = SPEC_VERSION) -> int:
        """All trainers of those whose devices are of this kind (cpu or cuda), that have these labels, and read specs of
        that version."""
        asked = (labels or {}).items()
        return sum(
            each.trainers
            for each in self._rows
            if each.device.startswith(kind) and asked <= each.labels.items() and each.spec_version >= spec_version
        )


def live(connection: Connection) -> LiveWorkers:
    """The live workers, at this moment."""
    columns = (workers.c[name] for name in ("device", "trainers", "labels", "preemptible", "spec_version"))
    return LiveWorkers(
        connection.execute(select(*columns).where(workers.c.seen_at > ago(connection, DEAD_AFTER))).all()
    )


def find(connection: Connection) -> list[WorkerInfo]:
    """Workers with a heartbeat within the last minute, and those of their jobs that belong to the tenant."""
    alive = select(workers).where(workers.c.seen_at > ago(connection, DEAD_AFTER)).order_by(workers.c.id)
    running = in_tenant(connection, jobs), jobs.c.status == Status.running
    led = select(jobs.c.worker, jobs.c.id).where(*running)
    followed = select(gang_members.c.worker, jobs.c.id).join(jobs, gang_members.c.job_id == jobs.c.id).where(*running)
    running_jobs: dict[str, list[str]] = {}
    for worker, job_id in sorted(connection.execute(led.union(followed)).all()):
        running_jobs.setdefault(worker, []).append(job_id)
    return [
        WorkerInfo.model_validate({**row._mapping, "jobs": running_jobs.get(row.id, [])})
        for row in connection.execute(alive)
    ]


def occupied(connection: Connection) -> dict[tuple[str, int], bool]:
    """Host name and process id of live workers: whether each trains, or has reserved trainers for a job on several."""
    reserved = set(connection.scalars(select(gang_members.c.worker)))
    return {(each.hostname, each.pid): bool(each.jobs) or each.id in reserved for each in find(connection)}
