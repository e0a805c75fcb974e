"""Who trains: every worker's sign of life."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, literal, select, update

from service.lifecycle import Status, WorkerInfo
from service.store.tables import Utc, jobs, workers
from service.store.tenancy import own

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

GONE_AFTER = timedelta(minutes=1)
FORGOTTEN_AFTER = timedelta(days=1)  # those that could not sign off


def beat(connection: Connection, worker: WorkerInfo) -> None:
    """Say that this worker lives, and what it is now."""
    row = worker.model_dump(exclude={"object", "jobs"}) | {"seen_at": _ago(connection)}
    if connection.execute(update(workers).where(workers.c.id == worker.id).values(row)).rowcount == 0:
        connection.execute(delete(workers).where(workers.c.seen_at < _ago(connection, FORGOTTEN_AFTER)))
        connection.execute(insert(workers).values(row))


def _ago(connection: Connection, age: timedelta = timedelta()) -> ColumnElement[datetime]:
    """By one clock for all machines, of which some may be wrong: Postgres's own; SQLite has but one machine."""
    if connection.dialect.name == "postgresql":
        return func.now() - age
    return literal(datetime.now(UTC) - age, Utc)


def leave(connection: Connection, worker_id: str) -> None:
    """Take a worker off the list, as it stops."""
    connection.execute(delete(workers).where(workers.c.id == worker_id))


def find(connection: Connection) -> list[WorkerInfo]:
    """The workers that gave a sign of life within the last minute, with the jobs that they train, of
    those that this connection may see."""
    alive = select(workers).where(workers.c.seen_at > _ago(connection, GONE_AFTER)).order_by(workers.c.id)
    running = select(jobs.c.worker, jobs.c.id).where(own(connection, jobs), jobs.c.status == Status.running)
    trains: dict[str, list[str]] = {}
    for row in connection.execute(running.order_by(jobs.c.id)):
        trains.setdefault(row.worker, []).append(row.id)
    return [
        WorkerInfo.model_validate({**row._mapping, "jobs": trains.get(row.id, [])}) for row in connection.execute(alive)
    ]
