"""The life of a job: its states, the moves between them, and the records that cross every room's border."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.errors import Conflict
from service.spec.base import OpenEnum
from service.spec.early_stopping import Monitor
from service.spec.job import JobSpec
from service.spec.resolve import SpecWarning
from service.spec.table import Dataset


class Status(OpenEnum):
    """Where a job stands."""

    queued = "queued"
    running = "running"
    paused = "paused"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether this state never changes again."""
        return self in (Status.succeeded, Status.failed, Status.cancelled)


# queued <-> running -> succeeded | failed | cancelled; running -> paused <-> queued; queued, paused -> cancelled.
LIVE = tuple(status for status in Status if not status.terminal)
ENDED = tuple(status for status in Status if status.terminal)  # a state that this version does not know is neither


class StopReason(OpenEnum):
    """Why training ended."""

    early_stopped = "early_stopped"
    target_reached = "target_reached"
    max_epochs = "max_epochs"
    max_time = "max_time"
    diverged = "diverged"
    cancelled = "cancelled"


class ErrorCode(OpenEnum):
    """Why a job failed."""

    non_finite_loss = "non_finite_loss"
    out_of_memory = "out_of_memory"
    worker_lost = "worker_lost"
    stalled = "stalled"
    dataset_corrupt = "dataset_corrupt"
    checkpoint_corrupt = "checkpoint_corrupt"
    invalid_spec = "invalid_spec"
    storage_error = "storage_error"
    internal = "internal"


class Control(OpenEnum):
    """A request that waits for the running epoch's end."""

    pause = "pause"
    cancel = "cancel"


class Record(BaseModel):
    """A frozen record; its field comments are the API's documentation."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Epoch(Record):
    """One row of a history: what the epoch measured and what early stopping made of it."""

    epoch: int
    """Counted from 1."""
    train_loss: float | None
    """Mean loss over the training rows, in training mode, while the weights moved."""
    val_loss: float | None
    """Mean loss over the validation rows with the epoch's final weights; no smoothing, no class weights."""
    metrics: dict[str, float | None]
    """The task's validation metrics; null where undefined."""
    lr: float
    """Learning rate of the epoch."""
    seconds: float
    """Wall time of the epoch, training and evaluation."""
    improved: bool
    """The monitored value improved by more than `min_delta`: patience starts anew."""
    is_best: bool
    """The monitored value is the best so far: the best checkpoint is this epoch's."""
    wait: int
    """Epochs since patience last started anew; for the other rules, since the best epoch."""
    closeness: float | None
    """How close the stopping rule is to firing, from 0 to 1 and beyond: `wait` over `patience`, GL or PQ over `alpha`,
    successive rises over `s`. Null without a rule, where GL or PQ is undefined, and for PQ within a strip."""
    reason: str
    """The early-stopping decision in words."""
    non_finite: bool = False
    """A loss was NaN or infinite; it stands as null."""

    def value(self, monitor: Monitor) -> float | None:
        """What this epoch measured for `monitor`; None where it is undefined or not finite."""
        if monitor is Monitor.train_loss:
            return self.train_loss
        return self.val_loss if monitor is Monitor.val_loss else self.metrics.get(monitor)

    def measured(self) -> dict[str, float | None]:
        """Losses and metrics together."""
        return {"train_loss": self.train_loss, "val_loss": self.val_loss, **self.metrics}


class CheckpointKind(StrEnum):
    """Which epoch's weights. `state` is the trainers' own: what a job goes on from."""

    best = "best"
    last = "last"
    state = "state"


class Checkpoint(Record):
    """Published weights."""

    kind: CheckpointKind
    """`best`: the epoch with the best monitored value. `last`: the final epoch."""
    epoch: int
    """The epoch whose weights these are."""
    metrics: dict[str, float | None]
    """What that epoch measured."""
    sha256: str
    """SHA-256 of the safetensors file, which is also its ETag."""
    size_bytes: int
    """Size of the safetensors file in bytes."""
    path: str
    """The file's key in the artifact store."""
    download_url: str
    """Where to download it, relative to this server."""
    created_at: datetime
    """When it was published (UTC)."""


class CheckpointFormat(StrEnum):
    """What weights are written as; the last three with their preprocessing."""

    safetensors = "safetensors"
    pt = "pt"
    onnx = "onnx"
    pt2 = "pt2"
    bundle = "bundle"


class Progress(Record):
    """How far training is."""

    epoch: int
    """Epochs finished and recorded."""
    max_epochs: int
    """Epochs at most."""
    eta_seconds: float | None
    """Seconds to `max_epochs` at the present pace; early stopping may end sooner. Null unless running."""


class CheckpointRef(Record):
    """Where a checkpoint's file is."""

    epoch: int
    """The epoch whose weights these are: the best one, or for a moment the best before it."""
    sha256: str
    """SHA-256 of the file."""
    size_bytes: int
    """Size of the file in bytes."""
    path: str
    """The file's key in the artifact store."""
    download_url: str
    """Where to download it, relative to this server."""


class Best(Record):
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


class TestResult(Record):
    """The test rows, scored once with the best weights."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    metrics: dict[str, float | None]
    """The task's metrics on the test rows."""


class Forked(Record):
    """Whose weights a job goes on from."""

    job: str
    """The other job's id; it may be deleted by now."""
    checkpoint: str
    """Which of its weights: `best` or `last`."""
    epoch: int
    """The epoch of that job whose weights they are."""


class JobError(Record):
    """Why a job failed."""

    code: ErrorCode
    """A stable name for the cause."""
    message: str
    """The cause in a sentence."""
    log_tail: str | None = None
    """The end of the trainer's log."""


class Job(Record):
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


class Export(Record):
    """What is to be made of weights, and of what beside them."""

    format: CheckpointFormat
    job: Job
    dataset: Dataset | None  # with `parquet`, its table; None where there is none, or none any more
    parquet: Path | None
    history: Path  # every epoch as CSV
