"""What a tenant takes of the service now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from service.lifecycle import LIVE, Status
from service.store.tables import datasets, jobs
from service.store.tenancy import own

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Taken:
    """Of one tenant."""

    waiting: int
    """Jobs that are queued or paused."""
    running: int
    """Jobs that train."""
    dataset_bytes: int
    """Bytes of the stored data sets."""


def read(connection: Connection) -> Taken:
    """Two statements; neither reads more than an index and the data sets."""
    live = select(jobs.c.status, func.count().label("number")).where(own(connection, jobs), jobs.c.status.in_(LIVE))
    number = {row.status: row.number for row in connection.execute(live.group_by(jobs.c.status))}
    stored = select(func.coalesce(func.sum(datasets.c.parquet_bytes), 0)).where(own(connection, datasets))
    return Taken(
        waiting=number.get(Status.queued, 0) + number.get(Status.paused, 0),
        running=number.get(Status.running, 0),
        dataset_bytes=int(connection.scalar(stored) or 0),
    )
