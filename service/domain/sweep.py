"""Sweeps as the rest of the service sees them: where one stands, what its jobs and its points have given."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from service.domain.status import Status, StopReason
from service.spec.base import FrozenModel
from service.spec.early_stopping import Monitor


class SweepStatus(StrEnum):
    """Where a sweep stands."""

    running = "running"
    finished = "finished"
    cancelled = "cancelled"


class SweepBest(FrozenModel):
    """The best job of a sweep so far."""

    job: str
    """The job's id."""
    point: dict[str, Any]
    """What the sweep has changed for it, by dotted name into the spec."""
    epoch: int
    """The job's best epoch."""
    monitor: Monitor
    """The number that decides."""
    value: float
    """Its value at that epoch."""
    metrics: dict[str, float | None]
    """Everything that epoch measured."""


class Sweep(FrozenModel):
    """Many jobs from one base spec."""

    id: str
    """The sweep's id; ids sort by time of submission."""
    object: Literal["sweep"] = "sweep"
    """What this JSON object is."""
    name: str | None
    """A name for people."""
    labels: dict[str, str]
    """Free key-value pairs of the sweep."""
    status: SweepStatus
    """`running` while any job is live; then `cancelled` if that was asked for and ended a job, else `finished`."""
    jobs: int
    """How many jobs it has; deleted ones don't count."""
    counts: dict[Status, int]
    """How many of them are in each state."""
    monitor: Monitor
    """The number by which the jobs are compared, larger or smaller being better as it is for jobs: the base's."""
    best: SweepBest | None
    """The best job so far; null before the first finite evaluation."""
    base: dict[str, Any]
    """The job spec that every point starts from, as asked for."""
    grid: dict[str, list[Any]] | None
    """The values to combine, by dotted name, as asked for."""
    points: list[dict[str, Any]] | None
    """The points one by one, as asked for."""
    replicates: int
    """Jobs a point, and a fold, each with its own seed."""
    folds: int | None = None
    """Parts of the rows that take turns to validate; null without cross-validation."""
    created_at: datetime
    """When it was submitted (UTC)."""


class SweepResult(FrozenModel):
    """One job of a sweep and what has come out of it."""

    job: str
    """The job's id."""
    status: Status
    """Where the job stands."""
    stop_reason: StopReason | None
    """Why training ended; null before that and for failed jobs."""
    point: dict[str, Any]
    """What the sweep has changed for it, by dotted name into the spec."""
    best_epoch: int | None
    """The job's best epoch so far; null before the first finite evaluation."""
    value: float | None
    """What the sweep's monitor measured at that epoch."""
    metrics: dict[str, float | None]
    """Everything that epoch measured; empty while there is none."""
    test_metrics: dict[str, float | None] | None
    """The task's metrics on the test rows; null without a test split and before the end."""
    epochs: int
    """Epochs finished and recorded."""
    seconds: float | None
    """Wall time from when a worker took the job to its end; null before that."""


class Spread(FrozenModel):
    """How a number varies over the seeds of a point; with folds, how its mean over the seeds varies over the folds."""

    n: int
    """How many jobs, or folds, have it."""
    mean: float | None
    """Their mean."""
    std: float | None
    """Their standard deviation (divided by n - 1); null for a single one."""


class EpochSpread(FrozenModel):
    """How the best epoch varies over the jobs of a point."""

    min: int
    """The earliest."""
    median: float
    """The one in the middle."""
    max: int
    """The latest."""


class SweepPoint(FrozenModel):
    """The jobs of a sweep that differ in nothing but their seed and their fold."""

    point: dict[str, Any]
    """What the sweep has changed for them, by dotted name into the spec; `seed` and `split.fold` are left out."""
    jobs: int
    """How many jobs there are."""
    value: Spread | None
    """What the sweep's monitor measured at their best epochs; null while none has one."""
    metrics: dict[str, Spread]
    """The same of everything that was measured at their best epochs."""
    best_epoch: EpochSpread | None
    """Their best epochs; null while there is none."""
