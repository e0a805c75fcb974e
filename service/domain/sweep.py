"""Sweep records: status, results per job, and summaries per point."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from service.domain.status import Status, StopReason
from service.spec.base import FrozenModel, OpenEnum
from service.spec.early_stopping import Monitor


class SweepStatus(StrEnum):
    """Status of a sweep."""

    running = "running"
    finished = "finished"
    cancelled = "cancelled"


class SweepBest(FrozenModel):
    """The best job of a sweep so far."""

    job: str
    """The job's id."""
    point: dict[str, Any]
    """Fields changed by the sweep, by dotted name in the spec."""
    epoch: int
    """The job's best epoch."""
    monitor: Monitor
    """The monitored metric."""
    value: float
    """Its value at that epoch."""
    metrics: dict[str, float | None]
    """All losses and metrics of that epoch."""


class PublishedVersion(FrozenModel):
    """The version of a model that a sweep has published."""

    model: str
    """The model's name."""
    version: int
    """The version's number."""


class DecisionKind(OpenEnum):
    """What a sweep has decided."""

    proposed = "proposed"
    promoted = "promoted"
    pruned = "pruned"
    stopped = "stopped"
    published = "published"
    failed = "failed"


@dataclass(frozen=True)
class NewDecision:
    """A decision to be recorded; the fields are those of `Decision`."""

    kind: DecisionKind
    reason: str
    trial: int | None = None
    rung: int | None = None
    bracket: int | None = None
    point: dict[str, Any] | None = None
    value: float | None = None
    epochs: int | None = None


class Decision(FrozenModel):
    """A decision of a sweep."""

    number: int
    """Its number in the sweep, from 1."""
    kind: DecisionKind
    """`proposed`: a trial was queued. `promoted`, `pruned`: at the end of a rung, a trial trains on, or does not.
    `stopped`: the search has ended, by its budget for example. `published`: the version of the model was made.
    `failed`: a trial cannot be trained; without a trial, the sweep cannot go on."""
    trial: int | None = None
    """The trial, from 1: a point with all its seeds and folds."""
    rung: int | None = None
    """The rung that the trial has reached, from 1."""
    bracket: int | None = None
    """The bracket of Hyperband, from 1."""
    point: dict[str, Any] | None = None
    """Fields that a proposed trial changes, by dotted name in the spec."""
    value: float | None = None
    """The trial's value: the mean of the monitored metric over its jobs, each at its best epoch."""
    epochs: int | None = None
    """`proposed` and `promoted`: the epoch up to which its jobs may train now; null: to the end of their spec.
    `pruned`: the limit of the rung."""
    reason: str
    """The reason in a sentence."""
    created_at: datetime
    """When it was taken (UTC)."""


class Sweep(FrozenModel):
    """A sweep: many jobs from one base spec."""

    id: str
    """The sweep's id; ids sort by time of submission."""
    object: Literal["sweep"] = "sweep"
    """What this JSON object is."""
    name: str | None
    """Optional name."""
    labels: dict[str, str]
    """Key-value pairs of the sweep."""
    status: SweepStatus
    """`running` while any job is live or a decision is due; then `cancelled` if a request has cancelled a job, else
    `finished`."""
    jobs: int
    """Number of jobs, without deleted ones."""
    counts: dict[Status, int]
    """Number of jobs by status."""
    monitor: Monitor
    """The metric by which jobs are compared: the monitored metric of the base spec."""
    best: SweepBest | None
    """The best job so far; null before the first finite evaluation."""
    base: dict[str, Any]
    """The base job spec, as submitted."""
    grid: dict[str, list[Any]] | None
    """Lists of values to combine, by dotted name, as submitted."""
    points: list[dict[str, Any]] | None
    """Explicit points, as submitted."""
    replicates: int
    """Number of jobs per point and fold, each with its own seed."""
    folds: int | None = None
    """Number of cross-validation folds; null without cross-validation."""
    repeats: int = 1
    """Number of assignments of rows to folds that each point is trained on."""
    retrains: str | None = None
    """The job whose report this sweep was made for, by retraining; null for other sweeps."""
    space: dict[str, Any] | None = None
    """The space from which trials are drawn, as submitted."""
    search: dict[str, Any] | None = None
    """The search: how trials are proposed and pruned; null for sweeps that train all points to their end."""
    preset: str | None = None
    """The preset that the points come from, as submitted."""
    recipes: str | None = None
    """The version of the recipes of the preset; a recipe of a version never changes."""
    model: str | None = None
    """The name under which a version is published at the end."""
    select: Literal["best", "greedy"] | None = None
    """How the members of that version are chosen."""
    pending: bool = False
    """Whether decisions are due, or a publication, beside what the live jobs do."""
    published: PublishedVersion | None = None
    """The published version; null before, and without `model`."""
    error: str | None = None
    """Why the sweep has ended without its next decision or its version; null if it has not."""
    created_at: datetime
    """Submission time (UTC)."""


class SweepResult(FrozenModel):
    """The result of one job of a sweep."""

    job: str
    """The job's id."""
    status: Status
    """Status of the job."""
    stop_reason: StopReason | None
    """Why training ended; null before that and for failed jobs."""
    point: dict[str, Any]
    """Fields changed by the sweep, by dotted name in the spec."""
    best_epoch: int | None
    """The job's best epoch so far; null before the first finite evaluation."""
    value: float | None
    """The sweep's monitored metric at that epoch."""
    metrics: dict[str, float | None]
    """All losses and metrics of that epoch; empty before the first finite evaluation."""
    test_metrics: dict[str, float | None] | None
    """The task's metrics on the test rows; null without a test split and before the end."""
    epochs: int
    """Epochs finished and recorded."""
    seconds: float | None
    """Wall time from claim to end; null before the end."""


class Spread(FrozenModel):
    """Mean and std of a metric over the seeds of a point; with folds, over the folds' means."""

    n: int
    """Number of jobs, or folds, that have a value."""
    mean: float | None
    """Mean."""
    std: float | None
    """Standard deviation (divided by n - 1); null for n = 1."""
    standard_error: float | None = None
    """Standard error of the mean, with folds corrected for the training rows that they share (Nadeau and Bengio, 2003);
    null for n = 1."""


class EpochSpread(FrozenModel):
    """Range of best epochs over the jobs of a point."""

    min: int
    """Minimum."""
    median: float
    """Median."""
    max: int
    """Maximum."""


Verdict = Literal["best", "worse", "not_distinguishable", "unknown"]


class VersusBest(FrozenModel):
    """A point compared with the best one, by a paired t test over the seeds or folds that both have."""

    difference: float | None = None
    """Mean of the monitored metric minus that of the best point, over the runs that both have; null without one."""
    standard_error: float | None = None
    """Standard error of the difference, corrected as that of a mean; null with fewer than two runs in common."""
    p_value: float | None = None
    """Two-sided p-value, adjusted for the number of points; null where no test is possible."""
    verdict: Verdict
    """`worse`: the p-value is at most 0.05. `not_distinguishable`: the difference may be chance. `unknown`: no test is
    possible, for example because each point has one run."""
    reason: str
    """The verdict in words."""


class SweepPoint(FrozenModel):
    """A point of a sweep: jobs that differ only in seed and fold."""

    point: dict[str, Any]
    """Fields changed by the sweep, by dotted name in the spec, without `seed`, `split.fold` and `split.train_seed`."""
    jobs: int
    """Number of jobs."""
    value: Spread | None
    """The sweep's monitored metric at their best epochs; null if no job has a value."""
    metrics: dict[str, Spread]
    """Mean and std of all losses and metrics at their best epochs."""
    best_epoch: EpochSpread | None
    """Range of their best epochs; null if no job has one."""
    versus_best: VersusBest | None = None
    """How the point compares with the best one."""
