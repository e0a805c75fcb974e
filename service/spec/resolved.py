"""The resolved job: spec with all defaults, inputs, target, layers, row counts and warnings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from service.engine_constants import MAX_ARRAY_PARAMETERS, MAX_ARRAY_ROW_BYTES, MAX_ARRAY_VALUES, VALUE_BYTES, padded
from service.spec.base import Strict
from service.spec.data import Data, DatasetData, Preprocess, Streaming
from service.spec.early_stopping import Monitor
from service.spec.graph import Graph
from service.spec.job import JobSpec
from service.spec.layers import Layer
from service.spec.loss import CrossEntropy, DefaultLoss, Poisson, SquaredError
from service.spec.split import Split
from service.spec.table import ColumnType, Value


class SpecWarning(Strict, extra="ignore"):
    """A warning about a spec, found before training; stored with the job, perhaps by a newer version."""

    code: str
    """A stable code of this kind of warning."""
    message: str
    """The warning in a sentence."""
    pointer: str
    """JSON pointer to the part of the spec that it is about."""


MIN_BINS = 2
"""Fewest bins of a piecewise-linear encoding: a single one is the scaled value again."""
DATE_INPUTS = 7
"""Days since the first, and sine and cosine of the time of day, week and year."""


@dataclass(frozen=True)
class Feature:
    """The encoding of a column: one number, seven for a date, or one-hot categories; plus an indicator for missing.

    A text column with an `embedding_size` has a code instead: 0 for none, then one for each input that it would have.
    Widths follow from the spec and the table's profile alone, so that all folds of a table have the same.
    """

    column: str
    type: ColumnType
    categories: tuple[str, ...] | None = None  # of a text column only; empty where `value_inputs`
    other: bool = False  # an input for (other): text that is none of the categories
    indicator: bool = False
    bins: int = 0  # inputs of a number's or date's piecewise-linear encoding
    value_inputs: int = 0  # inputs that each text has numbers for, by frequency or target, in place of one-hot ones
    embedding_size: int | None = None

    @property
    def width(self) -> int:
        """Number of inputs of the column in `numbers`."""
        if self.embedding_size is not None:
            return 0
        if self.categories is not None:
            return (self.value_inputs or len(self.categories) + self.other) + self.indicator
        return (DATE_INPUTS if self.type is ColumnType.datetime else 1) + self.bins + self.indicator


Link = Literal["identity", "log"]
"""How the network's output becomes a number: scaled, or through the exponential function."""


def link_of(spec: JobSpec) -> Link:
    """The link of a job's target."""
    return "log" if isinstance(spec.loss, Poisson) else "identity"


@dataclass(frozen=True)
class Target:
    """The column to predict; `classes` is None for regression."""

    column: str
    classes: tuple[Value, ...] | None
    link: Link = "identity"


@dataclass(frozen=True)
class RowCounts:
    """Number of rows of each part of the split; `dropped` rows have no target.

    If `exact` is False, the numbers are estimates until the rows are read.
    """

    train: int
    validation: int
    test: int
    dropped: int
    exact: bool = True


@dataclass(frozen=True)
class Preparation:
    """Everything that the prepared rows of a job depend on, beside the bytes of its data set.

    `prepare` takes only this record, so that `key` covers every dependency.
    """

    data: Data
    split: Split
    preprocess: Preprocess
    features: tuple[Feature, ...]
    target: Target
    null_values: tuple[str, ...]
    date_format: str | None

    @property
    def key(self) -> str:
        """A cache key: SHA-256, in hex, of every field's value."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True)
class Resolved:
    """A fully specified job; only what is fitted on training rows is open."""

    spec: JobSpec
    features: tuple[Feature, ...]
    target: Target
    graph: Graph
    rows: RowCounts
    null_values: tuple[str, ...]  # text that means a missing value in the table
    warnings: tuple[SpecWarning, ...]
    date_format: str | None = None  # format of dates in the table's file, unless ISO 8601
    max_row_bytes: int = MAX_ARRAY_ROW_BYTES  # of all row sets of an array; less where the server's memory is smaller

    @property
    def preparation(self) -> Preparation:
        """What the prepared rows depend on."""
        spec = self.spec
        source = spec.data, spec.split, spec.preprocess
        return Preparation(*source, self.features, self.target, self.null_values, self.date_format)

    @property
    def inputs(self) -> int:
        """Width of the network's input."""
        return self.graph.layout.numbers

    @property
    def row_values(self) -> int:
        """Values of a prepared row, as numbers of 4 bytes; a code has 8."""
        layout = self.graph.layout
        return layout.numbers + 2 * len(layout.categories)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the network."""
        return self.graph.layers

    @property
    def parameters(self) -> int:
        """Number of parameters of the network."""
        return self.graph.parameters

    @property
    def batch_rows(self) -> int:
        """Rows of a full batch."""
        size = self.spec.batch_size
        return self.rows.train if size == "full" else min(size, self.rows.train)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch; a last batch that is too small is merged into the batch before."""
        full, tail = divmod(self.rows.train, self.batch_rows)
        return full + (tail >= self.spec.least_batch_rows)

    @property
    def array_key(self) -> str:
        """Jobs with equal keys have the same rows, preprocessing, layer shapes and steps: they can train as one array.

        Workers of earlier versions train the jobs of an array on the rows of the first.
        """
        return _sha256({**self._shared, "split": self.spec.split.model_dump(mode="json")})

    @property
    def shape_key(self) -> str:
        """Jobs with equal keys have the same table and layer shapes: they can train as one array, each on its own rows.

        They may differ in seed, learning rate, weight decay, momentum and betas, schedule, early stopping, epochs,
        dropout above 0, label smoothing, and the number of their loss (`delta`, `q`, `gamma`).
        """
        return _sha256(self._shared)

    @property
    def _shared(self) -> dict[str, Any]:
        spec = self.spec
        plain = isinstance(spec.loss, DefaultLoss | CrossEntropy | SquaredError)  # the only ones of spec version 1
        decay_schedule = getattr(spec.optimizer, "decay_schedule", "constant")
        return {
            **({} if plain else {"loss": spec.loss.kind}),
            **({} if spec.averaging is None else {"averaging": spec.averaging.kind}),
            **({"rates": [spec.optimizer.rates, self.graph.labels]} if spec.optimizer.rates else {}),
            **({} if decay_schedule == "constant" else {"decay_schedule": decay_schedule}),
            **({} if spec.parallel is None else {"parallel": spec.parallel.model_dump(mode="json")}),
            "data": spec.data.model_dump(mode="json", exclude=None if self.window_rows else {"streaming"}),
            "preprocess": spec.preprocess.model_dump(mode="json"),
            "layers": self.graph.array_key,
            "task": spec.task,
            "class_weight": getattr(spec.loss, "class_weight", None),
            "optimizer": [spec.optimizer.kind, getattr(spec.optimizer, "nesterov", False)],
            "batch_size": spec.batch_size,
            "precision": spec.precision,
            "device": spec.device,
        }

    @property
    def row_set_bytes(self) -> int:
        """Memory of one row set: its prepared rows, with padded inputs; trainers of a worker share large ones."""
        rows = self.rows.train + self.rows.validation + self.rows.test
        layout = self.graph.layout
        return rows * (padded(layout.numbers) + 2 * len(layout.categories)) * VALUE_BYTES

    @property
    def window_rows(self) -> int | None:
        """Rows of a shuffled window, if training streams rows from disk; None: they are in memory."""
        streaming = self.spec.data.streaming if isinstance(self.spec.data, DatasetData) else None
        return streaming.window_rows if isinstance(streaming, Streaming) else None

    @property
    def window_bytes(self) -> int:
        """Memory of a window of a job that streams rows; 0 for others."""
        rows = self.rows.train + self.rows.validation + self.rows.test
        return min(self.window_rows or 0, rows) * self.row_set_bytes // max(rows, 1)

    @property
    def row_sets(self) -> int:
        """The largest number of row sets, such as folds, in one array; streamed ones are in files."""
        return 1 if self.window_rows else max(1, self.max_row_bytes // max(1, self.row_set_bytes))

    @property
    def array_limit(self) -> int:
        """The largest number of such jobs in one array; each of those that stream rows has windows of its own."""
        if self.spec.parallel is not None:
            return 1
        most = min(MAX_ARRAY_PARAMETERS // self.parameters, MAX_ARRAY_VALUES // self.step_values)
        return max(1, min(most, self.max_row_bytes // self.window_bytes) if self.window_bytes else most)

    @property
    def step_values(self) -> int:
        """Activation values of a step, as the engine holds them."""
        return self.batch_rows * self.graph.values_held

    @property
    def monitor(self) -> Monitor:
        """The monitored metric, which decides which epoch is best."""
        return self.spec.monitor


def _sha256(shared: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()
