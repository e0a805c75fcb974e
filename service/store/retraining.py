"""Sweeps that retrain a job for its report, and what their jobs have recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, cast, func, select

from service.domain.status import Status
from service.store.schema import epochs, jobs, sweeps
from service.store.sweeps import get
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from service.domain.sweep import Sweep


@dataclass(frozen=True)
class RetrainedResult:
    """What a job of such a sweep has recorded."""

    point: dict[str, Any]
    """Fields changed by the sweep, by dotted name."""
    rows: int | None
    """Number of its training rows, as resolved."""
    metrics: dict[str, float | None]
    """Losses and metrics of its best epoch; empty without one, and unless it has succeeded."""
    test_metrics: dict[str, float | None] | None


def find(connection: Connection, job_id: str) -> Sweep | None:
    """The newest sweep that retrains this job."""
    these = select(sweeps.c.id).where(in_tenant(connection, sweeps), sweeps.c.retrains == job_id)
    newest = connection.scalar(these.order_by(sweeps.c.id.desc()).limit(1))
    return None if newest is None else get(connection, newest)


def results(connection: Connection, sweep_id: str) -> list[RetrainedResult]:
    """What the jobs of this sweep have recorded, as submitted; no metrics of those that have not succeeded."""
    rows = cast(jobs.c.resolved[("rows", "train")].as_string(), Integer).label("rows")
    query = select(jobs.c.point, jobs.c.status, rows, jobs.c.best_metrics, jobs.c.test_metrics)
    these = query.where(in_tenant(connection, jobs), jobs.c.sweep_id == sweep_id).order_by(jobs.c.id)
    found = []
    for row in connection.execute(these):
        metrics = (row.best_metrics or {}, row.test_metrics) if row.status == Status.succeeded else ({}, None)
        found.append(RetrainedResult(row.point or {}, row.rows, *metrics))
    return found


def epoch_seconds(connection: Connection, job_id: str) -> float | None:
    """The mean duration of this job's epochs in seconds; None without epochs."""
    mean = select(func.avg(epochs.c.seconds)).where(in_tenant(connection, epochs), epochs.c.job_id == job_id)
    found = connection.scalar(mean)
    return None if found is None else float(found)
