"""The job spec: the request body of a job, its update (PATCH), and the spec version that a worker must know."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from service.spec.architecture import Architecture, FtTransformer, Layers, Mlp, ResNet, TabM, TabularOptions
from service.spec.averaging import Averaging
from service.spec.base import Float, Int, Name, Seed, Strict
from service.spec.capped_errors import CapErrors
from service.spec.data import Data, DatasetData, Preprocess, Streaming
from service.spec.early_stopping import EarlyStopping, Monitor, Patience
from service.spec.layers import EmbeddingLayer, PeriodicLayer, ScalingLayer
from service.spec.loss import CrossEntropy, DefaultLoss, KnownLoss, Loss, SquaredError
from service.spec.optimizer import Adam, AdamW, Optimizer
from service.spec.parallel import ROWS_OF_RANK, Parallel
from service.spec.schedule import Constant, CosLog4, OneCycle, Schedule
from service.spec.split import Split
from service.spec.worker import WorkerRequest

LabelKey = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(strict=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Priority = Annotated[Int, Field(ge=-100, le=100)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=50), CapErrors()]


class Task(StrEnum):
    """Classification or regression; `auto` decides by the loss or the target column."""

    auto = "auto"
    classification = "classification"
    regression = "regression"


class JobSpec(Strict):
    """The spec of a job. Every field except `data` has a default; unknown fields are refused."""

    name: Name | None = None
    """An optional name."""
    labels: Labels = {}
    """Free key-value pairs to find jobs by."""
    data: Data
    """The data to train on."""
    task: Task = Task.auto
    """`auto` decides by the loss, if it is for one task alone, else by the target: text, booleans and few distinct
    integers are classification."""
    split: Split = Split()
    """The split into training, validation and test rows."""
    preprocess: Preprocess = Preprocess()
    """Preprocessing of columns into inputs."""
    architecture: Architecture = Mlp()
    """The network."""
    optimizer: Optimizer = Adam()
    """The optimizer."""
    schedule: Schedule = Constant()
    """The learning-rate schedule."""
    averaging: Averaging | None = None
    """Average of the weights, which validation, early stopping, checkpoints and exports use; null: none."""
    loss: Loss = DefaultLoss()
    """The loss function; by default cross-entropy for classification, squared error for regression."""
    batch_size: Annotated[Int, Field(ge=1, le=10_000_000)] | Literal["full"] = 64
    """Rows per step; `full` takes all training rows at once, unshuffled."""
    max_epochs: Annotated[Int, Field(ge=1, le=1_000_000)] = 100
    """The maximum number of epochs."""
    max_seconds: Annotated[Float, Field(gt=0.0, le=2_592_000.0)] | None = None
    """Training ends with the first epoch that exceeds this many seconds of training; null: no limit."""
    early_stopping: EarlyStopping | None = Patience()
    """The early-stopping rule; null trains to the end, and still keeps the best epoch."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: training rounds the factors of matrix products to it, faster on GPUs; all else is float32."""
    seed: Seed = 0
    """Random seed of initial weights, row order and dropout."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` uses a GPU if the worker has one."""
    worker: WorkerRequest = WorkerRequest()
    """The worker that it asks for."""
    parallel: Parallel | None = None
    """Training on several devices; null: on one."""
    priority: Priority = 0
    """Jobs of higher priority are claimed first, within a tenant."""

    @property
    def monitor(self) -> Monitor:
        """The number that decides which epoch is best."""
        if self.early_stopping is not None:
            return self.early_stopping.monitor
        return Monitor.val_loss if self.split.validates else Monitor.train_loss

    @property
    def devices(self) -> int:
        """The number of devices that train it."""
        return 1 if self.parallel is None else self.parallel.devices

    @property
    def least_batch_rows(self) -> int:
        """Rows that a last batch needs; with fewer it joins the batch before it."""
        return ROWS_OF_RANK * self.devices

    @property
    def known_loss(self) -> KnownLoss:
        """The loss; the default one by the task, which must be resolved."""
        if not isinstance(self.loss, DefaultLoss):
            return self.loss
        if self.task is Task.regression:
            return SquaredError()
        return CrossEntropy(label_smoothing=self.loss.label_smoothing, class_weight=self.loss.class_weight)


class JobChange(Strict):
    """New values; fields that are left out stay unchanged."""

    name: Name | None = None
    """A new name; null removes it."""
    labels: Labels = {}
    """New labels, which replace all existing ones."""
    priority: Priority = 0
    """A new priority, as long as the job has not ended."""


def _names_layers(spec: JobSpec) -> bool:
    """Layers are named, or take named inputs."""
    layers = spec.architecture.layers if isinstance(spec.architecture, Layers) else []
    return any(layer.name is not None or layer.inputs is not None for layer in layers)


def _tabular_network(spec: JobSpec) -> bool:
    """An architecture for tables other than `mlp`."""
    return isinstance(spec.architecture, ResNet | TabM | FtTransformer)


def _tabular_layers(spec: JobSpec) -> bool:
    """Embeddings of codes, periodic embeddings of numbers, or learnable scaling."""
    network = spec.architecture
    layers = network.layers if isinstance(network, Layers) else []
    return (
        spec.preprocess.categorical == "embedding"
        or (isinstance(network, TabularOptions) and (network.scaling or network.periodic is not None))
        or any(isinstance(layer, EmbeddingLayer | ScalingLayer | PeriodicLayer) for layer in layers)
    )


def _has_new_loss(spec: JobSpec) -> bool:
    """The loss is neither cross-entropy nor squared error, or a metric is monitored that came with other losses."""
    plain = isinstance(spec.loss, DefaultLoss | CrossEntropy | SquaredError)
    return not plain or spec.monitor in (Monitor.val_balanced_accuracy, Monitor.val_poisson_deviance)


def _has_new_schedule(spec: JobSpec) -> bool:
    """The schedule changes the rate at every step."""
    schedule = spec.schedule
    return isinstance(schedule, CosLog4 | OneCycle) or schedule.warmup_steps > 0 or schedule.warmup_share > 0


def _repeats_folds(spec: JobSpec) -> bool:
    """The rows are assigned to folds in another way than earlier versions do."""
    return (spec.split.repeat or 1) > 1


def _draws_training_rows(spec: JobSpec) -> bool:
    """Not all training rows train."""
    return spec.split.train_fraction is not None


def _new_preprocessing(spec: JobSpec) -> bool:
    """Robust scaling, piecewise-linear encoding, values of texts, or clipped predictions."""
    asked = spec.preprocess
    new_scaling = asked.numeric in ("robust", "piecewise_linear")
    return new_scaling or asked.high_cardinality != "most_frequent" or asked.clip_target


def _has_new_optimization(spec: JobSpec) -> bool:
    """Learning rates by layer, scheduled weight decay, or averaged weights."""
    decays = isinstance(spec.optimizer, AdamW) and spec.optimizer.decay_schedule != "constant"
    return spec.averaging is not None or bool(spec.optimizer.rates) or decays


_SINCE_2: list[Callable[[JobSpec], bool]] = [
    _names_layers,
    _tabular_network,
    _tabular_layers,
    _repeats_folds,
    _draws_training_rows,
    _new_preprocessing,
    _has_new_loss,
    _has_new_schedule,
    _has_new_optimization,
]


def _streams_rows(spec: JobSpec) -> bool:
    """Training reads rows from disk, in an order of its own."""
    return isinstance(spec.data, DatasetData) and isinstance(spec.data.streaming, Streaming)


def _asks_for_labels(spec: JobSpec) -> bool:
    """Only workers with these labels may train it."""
    return bool(spec.worker.labels)


def _trains_on_several_devices(spec: JobSpec) -> bool:
    """One job on many devices."""
    return spec.parallel is not None


_SINCE_4: list[Callable[[JobSpec], bool]] = [_streams_rows, _asks_for_labels, _trains_on_several_devices]

SINCE: dict[int, Callable[[JobSpec], bool]] = {
    2: lambda spec: any(uses(spec) for uses in _SINCE_2),
    4: lambda spec: any(uses(spec) for uses in _SINCE_4),
}
"""Spec version -> whether a spec uses a feature that this version added to specs, or to stored resolved jobs.

Workers of several versions run side by side during an update. A job that needs a newer version stays queued until a
worker that knows it claims it; any worker trains the others, and ignores fields that it does not know. For example
`2: lambda spec: spec.label_noise > 0`.
"""

EPOCH_LIMIT_VERSION = 3
"""Workers that know this version stop at `jobs.epoch_limit`; a job with a limit needs at least this version."""

SPEC_VERSION = max(*SINCE, EPOCH_LIMIT_VERSION)
"""The newest spec version that this version of the service can train."""


def version_needed(spec: JobSpec) -> int:
    """The smallest spec version whose workers train this spec as intended."""
    return max((version for version, uses in SINCE.items() if uses(spec)), default=1)
