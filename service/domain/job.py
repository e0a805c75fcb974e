"""A job: the record that store, worker, API and client share."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from service.domain.checkpoint import CheckpointFormat, CheckpointRef
from service.domain.status import Control, ErrorCode, Status, StopReason
from service.errors import Conflict
from service.spec.base import FrozenModel
from service.spec.early_stopping import Monitor
from service.spec.job import JobSpec
from service.spec.resolve import SpecWarning
from service.spec.table import Dataset


class Progress(FrozenModel):
    """How far training is."""

    epoch: int
    """Epochs finished and recorded."""
    max_epochs: int
    """Epochs at most."""
    eta_seconds: float | None
    """Seconds to `max_epochs` at the present pace; early stopping may end sooner. Null unless running."""


class Best(FrozenModel):
    """The best epoch so far."""

    epoch: int
    """The best epoch."""
    monitor: Monitor
    """The number that decides."""
    value: float
    """Its value at that epoch."""
    metrics: dict[str, float | None]
    """Everything that epoch measured."""
    checkpoint: CheckpointRef | None
    """The published best checkpoint; null until it is written."""


class TestResult(FrozenModel):
    """The test rows, scored once with the best weights."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    metrics: dict[str, float | None]
    """The task's metrics on the test rows."""


class Forked(FrozenModel):
    """Whose weights a job goes on from."""

    job: str
    """The other job's id; it may be deleted by now."""
    checkpoint: str
    """Which of its weights: `best` or `last`."""
    epoch: int
    """The epoch of that job whose weights they are."""


class JobError(FrozenModel):
    """Why a job failed."""

    code: ErrorCode
    """A stable name for the cause."""
    message: str
    """The cause in a sentence."""
    log_tail: str | None = None
    """The end of the trainer's log."""


class Job(FrozenModel):
    """One network to train: what was asked for, where it stands, what came out."""

    id: str
    """The job's id; ids sort by time of submission."""
    object: Literal["job"] = "job"
    """What this JSON object is."""
    name: str | None
    """A name for people."""
    labels: dict[str, str]
    """Free key-value pairs to find jobs by."""
    priority: int
    """Of a tenant's jobs those of a higher priority are claimed first."""
    sweep: str | None
    """The sweep that it belongs to."""
    point: dict[str, Any] | None
    """What the sweep has changed for this job, by dotted name into the spec."""
    forked: Forked | None
    """Where it goes on from; null: it begins with random weights."""
    status: Status
    """Where the job stands. Clients must accept states that they don't know."""
    stop_reason: StopReason | None
    """Why training ended; null before that and for failed jobs."""
    control: Control | None
    """A request that waits for the running epoch's end."""
    spec: Annotated[JobSpec | SkipJsonSchema[dict[str, Any]], Field(union_mode="left_to_right")]
    """Everything asked for at submission, with every default written out; what a newer version stored, as it is."""
    progress: Progress
    """How far training is."""
    best: Best | None
    """The best epoch so far; null before the first finite evaluation."""
    test: TestResult | None
    """The test rows' score; null without a test split and before the end."""
    warnings: list[SpecWarning]
    """What was noticed at submission."""
    attempt: int
    """How many times a worker has claimed the job."""
    failures: int
    """How many of these ended in a crash since an epoch beyond those of earlier attempts was recorded; 3 end it."""
    device: str | None
    """What it trains on."""
    worker: str | None
    """Who trains it."""
    queue_position: Annotated[int, Field(ge=1)] | None
    """While queued: its place among its tenant's queued jobs, counted to 1,000 at most; tenants take turns."""
    created_at: datetime
    """When it was submitted (UTC)."""
    started_at: datetime | None
    """When its present attempt was claimed (UTC)."""
    finished_at: datetime | None
    """When it ended (UTC)."""
    error: JobError | None
    """Why it failed; null otherwise."""

    @property
    def known_spec(self) -> JobSpec:
        """The spec; raises Conflict where this version cannot read it."""
        if isinstance(self.spec, JobSpec):
            return self.spec
        raise Conflict("a newer version of the service wrote the job's spec, and this one cannot read it")


class Export(FrozenModel):
    """What is to be made of weights, and of what beside them."""

    format: CheckpointFormat
    job: Job
    dataset: Dataset | None  # with `parquet`, its table; None where there is none, or none any more
    parquet: Path | None
    history: Path  # every epoch as CSV
