"""What an operator watches: jobs by how they are doing, how long the first has waited, who works, what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from service.domain.status import Status
from service.store import workers
from service.store.maintenance import garbage
from service.store.schema import STAGED, datasets, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from service.store.workers import WorkerInfo


@dataclass(frozen=True)
class Statistics:
    """Of all tenants, at one moment."""

    jobs: Mapping[tuple[str, str, str], int]
    """By status, stop_reason and error code; empty where a job has none."""
    waiting_seconds: float
    """Since the submission of the queued job that was submitted first; 0 when none is queued."""
    epochs: int
    """Of all jobs that are stored."""
    workers: Sequence[WorkerInfo]
    """Those alive."""
    datasets: int
    dataset_bytes: int
    database_bytes: int
    """Of SQLite's file with its log, or of the database in Postgres."""
    collecting: garbage.CollectionStatistics


def read(connection: Connection) -> Statistics:
    """A few statements, whatever there is: none reads a table of epochs, events or files."""
    stored_whole = jobs.c.status != STAGED
    code = jobs.c.error["code"].as_string()
    by = jobs.c.status, jobs.c.stop_reason, code
    counted = connection.execute(
        select(*by, func.count(), func.sum(jobs.c.epoch)).where(stored_whole).group_by(*by)
    ).all()
    first = select(func.min(jobs.c.created_at)).where(jobs.c.status == Status.queued)
    since: datetime | None = connection.scalar(first)
    stored = connection.execute(select(func.count(), func.coalesce(func.sum(datasets.c.parquet_bytes), 0))).one()
    return Statistics(
        jobs={(status, reason or "", error or ""): number for status, reason, error, number, _ in counted},
        waiting_seconds=(datetime.now(UTC) - since).total_seconds() if since else 0.0,
        epochs=sum(int(row[4]) for row in counted),
        workers=workers.find(connection),
        datasets=stored[0],
        dataset_bytes=int(stored[1]),
        database_bytes=database_bytes(connection),
        collecting=garbage.statistics(connection),
    )


def database_bytes(connection: Connection) -> int:
    """What the database takes on its disk."""
    if connection.dialect.name == "postgresql":
        return int(connection.scalar(select(func.pg_database_size(func.current_database()))) or 0)
    path = connection.engine.url.database or ""
    files = (Path(path + suffix) for suffix in ("", "-wal", "-shm"))
    return sum(file.stat().st_size for file in files if file.exists())
