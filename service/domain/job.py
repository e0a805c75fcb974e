"""The job record, shared by store, worker, API and client."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from service.domain.checkpoint import CheckpointRef
from service.domain.status import Control, ErrorCode, Status, StopReason
from service.errors import Conflict
from service.spec.base import FrozenModel
from service.spec.early_stopping import Monitor
from service.spec.job import JobSpec
from service.spec.resolve import SpecWarning


class Progress(FrozenModel):
    """Training progress."""

    epoch: int
    """Epochs finished and recorded."""
    max_epochs: int
    """Maximum number of epochs."""
    eta_seconds: float | None
    """Estimated seconds until `max_epochs`; early stopping may end sooner. Null unless running."""


class Best(FrozenModel):
    """The best epoch so far."""

    epoch: int
    """The best epoch."""
    monitor: Monitor
    """The monitored metric."""
    value: float
    """Its value at that epoch."""
    metrics: dict[str, float | None]
    """All losses and metrics of that epoch."""
    checkpoint: CheckpointRef | None
    """The published best checkpoint; null until it is written."""


class TestResult(FrozenModel):
    """Metrics of the test rows, computed once with the best weights."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    metrics: dict[str, float | None]
    """The task's metrics on the test rows."""


class Forked(FrozenModel):
    """The job and checkpoint that a job was forked from."""

    job: str
    """The parent job's id; it may have been deleted since."""
    checkpoint: str
    """Its checkpoint: `best` or `last`."""
    epoch: int
    """The epoch of that checkpoint."""


class JobError(FrozenModel):
    """Why a job failed."""

    code: ErrorCode
    """Stable error code."""
    message: str
    """Description of the cause."""
    log_tail: str | None = None
    """The end of the trainer's log."""


class Job(FrozenModel):
    """A training job: spec, status and results."""

    id: str
    """The job's id; ids sort by time of submission."""
    object: Literal["job"] = "job"
    """What this JSON object is."""
    name: str | None
    """Optional name."""
    labels: dict[str, str]
    """Key-value pairs to filter jobs by."""
    priority: int
    """A tenant's jobs of higher priority are claimed first."""
    sweep: str | None
    """The sweep that it belongs to."""
    point: dict[str, Any] | None
    """Fields changed by the sweep, by dotted name in the spec."""
    trial: int | None = None
    """Number of its trial in the sweep's search, from 1; null: its sweep does not search."""
    forked: Forked | None
    """What it was forked from; null: it starts from random weights."""
    status: Status
    """Status of the job. Clients must accept unknown values."""
    stop_reason: StopReason | None
    """Why training ended; null before that and for failed jobs."""
    control: Control | None
    """A pending request, which takes effect at the end of the current epoch."""
    epoch_limit: int | None = None
    """After this epoch it pauses until its sweep's search promotes or prunes it; null: no limit."""
    spec: Annotated[JobSpec | SkipJsonSchema[dict[str, Any]], Field(union_mode="left_to_right")]
    """The submitted spec with all defaults filled in; a spec of a newer version is returned unchanged."""
    progress: Progress
    """Training progress."""
    best: Best | None
    """The best epoch so far; null before the first finite evaluation."""
    test: TestResult | None
    """Test metrics; null without a test split and before the end."""
    warnings: list[SpecWarning]
    """Warnings of the submission."""
    attempt: int
    """How often the job has been claimed."""
    failures: int
    """Crashes since the last progress beyond earlier attempts; the third one ends the job."""
    device: str | None
    """Training device."""
    worker: str | None
    """Id of the worker that trains it."""
    queue_position: Annotated[int, Field(ge=1)] | None
    """Position among the tenant's queued jobs, at most 1,000; null unless queued. Tenants are served in turn."""
    created_at: datetime
    """Submission time (UTC)."""
    started_at: datetime | None
    """Time when the current attempt was claimed (UTC)."""
    finished_at: datetime | None
    """End time (UTC)."""
    error: JobError | None
    """The error of a failed job; null otherwise."""

    @property
    def known_spec(self) -> JobSpec:
        """The spec; raises Conflict if this version cannot read it."""
        if isinstance(self.spec, JobSpec):
            return self.spec
        raise Conflict("a newer version of the service wrote the job's spec, and this one cannot read it")
