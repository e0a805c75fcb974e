"""Recorded curves of many jobs: of ended ones, bounded in number and length, for advice; of a sweep, for replays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from service.domain.epoch import EpochValue
from service.domain.status import Status, StopReason
from service.spec.early_stopping import Monitor
from service.spec.job import SPEC_VERSION
from service.store.schema import epochs, jobs
from service.store.sweep_results import without_replicates
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from service.store.jobs.job_filter import JobFilter

MAX_JOBS = 500
MAX_EPOCHS = 50_000
"""Most epochs of all jobs together."""
MAX_JOB_EPOCHS = 10_000
"""Jobs with more epochs are left out."""
CHUNK = 50  # jobs in one statement

# Ends that do not depend on what a client, a search or a failure did meanwhile.
ENDS = (
    StopReason.early_stopped,
    StopReason.target_reached,
    StopReason.max_epochs,
    StopReason.max_time,
    StopReason.diverged,
)


@dataclass(frozen=True)
class EndedJob:
    """A job with a complete history."""

    id: str
    unit: str
    """Jobs of a sweep that differ only in seed and fold have the same one."""
    early_stopping: dict[str, Any] | None
    """Its rule, as stored."""
    monitor: str
    stop_reason: StopReason


def find(connection: Connection, which: JobFilter, dataset_id: str | None) -> tuple[list[EndedJob], bool]:
    """Ended jobs that match, newest first, without forks, whose histories begin with those of other jobs.

    The flag: whether there are more that are left out, by MAX_JOBS, MAX_EPOCHS or MAX_JOB_EPOCHS.
    """
    columns = (jobs.c.id, jobs.c.sweep_id, jobs.c.point, jobs.c.monitor, jobs.c.stop_reason, jobs.c.epoch)
    query = (
        select(*columns, jobs.c.spec["early_stopping"].as_json().label("early_stopping"))
        .where(in_tenant(connection, jobs), jobs.c.stop_reason.in_(ENDS), jobs.c.forked.is_(None), jobs.c.epoch > 0)
        .where(jobs.c.spec_version <= SPEC_VERSION)
        .order_by(jobs.c.id.desc())
        .limit(MAX_JOBS + 1)
    )
    if dataset_id is not None:
        query = query.where(jobs.c.dataset_id == dataset_id)
    rows = connection.execute(which.apply(query)).all()
    found, left, truncated = list[EndedJob](), MAX_EPOCHS, len(rows) > MAX_JOBS
    for row in rows[:MAX_JOBS]:
        if row.epoch > min(left, MAX_JOB_EPOCHS):
            truncated = True
            continue
        left -= row.epoch
        unit = row.id
        if row.sweep_id is not None:
            unit = row.sweep_id + json.dumps(without_replicates(row.point or {}), sort_keys=True)
        found.append(EndedJob(row.id, unit, row.early_stopping, row.monitor, StopReason(row.stop_reason)))
    return found, truncated


@dataclass(frozen=True)
class SweepCurve:
    """A job of a sweep whose curve is replayed."""

    id: str
    trial: int | None
    """The number of its trial; None if the sweep does not search."""
    point: dict[str, Any]
    status: Status
    stop_reason: StopReason | None
    epochs: int
    max_epochs: int
    monitor: Monitor


def of_sweep(connection: Connection, sweep_id: str) -> list[SweepCurve]:
    """The jobs of a sweep, as submitted."""
    names = ("id", "trial", "point", "status", "stop_reason", "epoch", "max_epochs", "monitor")
    query = select(*(jobs.c[name] for name in names))
    these = query.where(in_tenant(connection, jobs), jobs.c.sweep_id == sweep_id).order_by(jobs.c.id)
    return [
        SweepCurve(
            id=row.id,
            trial=row.trial,
            point=row.point or {},
            status=Status(row.status),
            stop_reason=None if row.stop_reason is None else StopReason(row.stop_reason),
            epochs=row.epoch,
            max_epochs=row.max_epochs,
            monitor=Monitor(row.monitor),
        )
        for row in connection.execute(these)
    ]


def values(connection: Connection, job_ids: Sequence[str], monitor: Monitor) -> Iterator[tuple[str, list[EpochValue]]]:
    """(id, all epochs in order) of each of these jobs that has any; a few jobs are in memory at once."""
    measured = _measured(monitor).label("value")
    for start in range(0, len(job_ids), CHUNK):
        these = epochs.c.job_id.in_(job_ids[start : start + CHUNK])
        query = select(epochs.c.job_id, measured, epochs.c.train_loss, epochs.c.non_finite)
        rows = connection.execute(
            query.where(in_tenant(connection, epochs), these).order_by(epochs.c.job_id, epochs.c.epoch)
        ).all()
        for job_id, group in groupby(rows, key=lambda row: str(row[0])):
            yield job_id, [EpochValue(*row[1:]) for row in group]


def _measured(monitor: Monitor) -> ColumnElement[float]:
    """The column of a metric, as `Epoch.value` reads it."""
    column: ColumnElement[float] = epochs.c.metrics[monitor.value].as_float()
    return {Monitor.train_loss: epochs.c.train_loss, Monitor.val_loss: epochs.c.val_loss}.get(monitor, column)
