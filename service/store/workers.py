"""Who trains: every worker's sign of life."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sqlalchemy import delete, func, insert, literal, select, update

from service.domain.status import Status
from service.spec.base import FrozenModel
from service.store.schema import Utc, jobs, workers
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

GONE_AFTER = timedelta(minutes=1)
FORGOTTEN_AFTER = timedelta(days=1)  # those that could not sign off


class WorkerInfo(FrozenModel):
    """One worker: a supervisor and its trainer processes."""

    id: str
    """The worker's id."""
    object: Literal["worker"] = "worker"
    """What this JSON object is."""
    hostname: str
    """The machine it runs on."""
    pid: int
    """Its process id there."""
    trainers: int
    """How many jobs it trains side by side."""
    device: str
    """What it trains on."""
    jobs: list[str]
    """The jobs it trains right now."""
    started_at: datetime
    """When it started (UTC)."""
    claims: int = 0
    """How many times it has taken jobs from the queue since it started."""
    claimed: int = 0
    """How many jobs those were."""
    claim_seconds: float = 0.0
    """How long these takings took, together."""
    waited_seconds: float = 0.0
    """How long those jobs had waited since they were submitted, together; tried again, one counts no more."""
    lapsed_leases: int = 0
    """How many leases of other workers it has found lapsed, and taken the jobs back to the queue."""
    trainer_restarts: int = 0
    """How many of its trainer processes have died and were replaced."""
    seen_at: datetime
    """When it last gave a sign of life (UTC)."""


def heartbeat(connection: Connection, worker: WorkerInfo) -> None:
    """Say that this worker lives, and what it is now."""
    row = worker.model_dump(exclude={"object", "jobs"}) | {"seen_at": _ago(connection)}
    if connection.execute(update(workers).where(workers.c.id == worker.id).values(row)).rowcount == 0:
        gone = select(workers.c.id).where(workers.c.seen_at < _ago(connection, FORGOTTEN_AFTER)).order_by(workers.c.id)
        ids = connection.scalars(gone.with_for_update(skip_locked=True)).all()
        connection.execute(delete(workers).where(workers.c.id.in_(ids)))
        connection.execute(insert(workers).values(row))


def _ago(connection: Connection, age: timedelta = timedelta()) -> ColumnElement[datetime]:
    """By one clock for all machines, of which some may be wrong: Postgres's own; SQLite has but one machine."""
    if connection.dialect.name == "postgresql":
        return func.now() - age
    return literal(datetime.now(UTC) - age, Utc)


def deregister(connection: Connection, worker_id: str) -> None:
    """Take a worker off the list, as it stops."""
    connection.execute(delete(workers).where(workers.c.id == worker_id))


def find(connection: Connection) -> list[WorkerInfo]:
    """The workers that gave a sign of life within the last minute, with the jobs that they train, of
    those that this connection may see."""
    alive = select(workers).where(workers.c.seen_at > _ago(connection, GONE_AFTER)).order_by(workers.c.id)
    running = select(jobs.c.worker, jobs.c.id).where(in_tenant(connection, jobs), jobs.c.status == Status.running)
    trains: dict[str, list[str]] = {}
    for row in connection.execute(running.order_by(jobs.c.id)):
        trains.setdefault(row.worker, []).append(row.id)
    return [
        WorkerInfo.model_validate({**row._mapping, "jobs": trains.get(row.id, [])}) for row in connection.execute(alive)
    ]
