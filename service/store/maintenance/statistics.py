"""Statistics for operators: jobs by status, queue time, workers, stored bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from service.domain.status import Status
from service.store import decisions, demand, workers
from service.store.maintenance import garbage
from service.store.schema import STAGED, datasets, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from service.store.demand import Demand
    from service.store.workers import WorkerInfo


@dataclass(frozen=True)
class Statistics:
    """Statistics over all tenants."""

    jobs: Mapping[tuple[str, str, str], int]
    """By status, stop_reason and error code; empty where a job has none."""
    waiting_seconds: float
    """Age of the oldest queued job; 0 if none is queued."""
    undecided_sweeps: int
    """Sweeps whose next decision is due."""
    epochs: int
    """Recorded epochs of all stored jobs."""
    workers: Sequence[WorkerInfo]
    """Workers with a recent heartbeat."""
    demand: Demand
    """The demand for workers."""
    datasets: int
    dataset_bytes: int
    database_bytes: int
    """Size of SQLite's file with its WAL, or of the Postgres database."""
    collecting: garbage.CollectionStatistics


def read(connection: Connection) -> Statistics:
    """Read the statistics, in a few statements that do not scan epochs, events or checkpoints."""
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
        undecided_sweeps=decisions.count_undecided(connection),
        epochs=sum(int(row[4]) for row in counted),
        workers=workers.find(connection),
        demand=demand.read(connection),
        datasets=stored[0],
        dataset_bytes=int(stored[1]),
        database_bytes=database_bytes(connection),
        collecting=garbage.statistics(connection),
    )


def database_bytes(connection: Connection) -> int:
    """Size of the database on disk."""
    if connection.dialect.name == "postgresql":
        return int(connection.scalar(select(func.pg_database_size(func.current_database()))) or 0)
    path = connection.engine.url.database or ""
    files = (Path(path + suffix) for suffix in ("", "-wal", "-shm"))
    return sum(file.stat().st_size for file in files if file.exists())
