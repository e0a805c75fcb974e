"""What resolving a spec gives: inputs, target, layers, rows and warnings, with nothing left to decide."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from service.engine_constants import MAX_ARRAY_PARAMETERS, MAX_ARRAY_VALUES, padded
from service.spec.base import Strict
from service.spec.data import Data, Preprocess
from service.spec.early_stopping import Monitor
from service.spec.job import JobSpec
from service.spec.layers import Dropout, Layer, count_parameters, values_held
from service.spec.split import Split
from service.spec.table import ColumnType, Value


class SpecWarning(Strict, extra="ignore"):
    """Something a person would want to know before training; stored with the job, perhaps by a newer version."""

    code: str
    """A stable name for this kind of warning."""
    message: str
    """What was noticed, in a sentence."""
    pointer: str
    """JSON pointer to the part of the spec that it concerns."""


DATE_INPUTS = 7
"""Days since the first, and a sine and a cosine for each of day, week and year."""


@dataclass(frozen=True)
class Feature:
    """How one column becomes inputs: one number, seven for a date, or a 0/1 per category; plus a 0/1 for missing."""

    column: str
    type: ColumnType
    categories: tuple[str, ...] | None = None  # of a text column alone
    other: bool = False  # one more 0/1: some text, but none of the categories
    indicator: bool = False

    @property
    def width(self) -> int:
        """How many inputs the column gives."""
        if self.categories is not None:
            return len(self.categories) + self.other + self.indicator
        return (DATE_INPUTS if self.type is ColumnType.datetime else 1) + self.indicator


@dataclass(frozen=True)
class Target:
    """The column to predict; `classes` is None for regression."""

    column: str
    classes: tuple[Value, ...] | None


@dataclass(frozen=True)
class RowCounts:
    """How many rows each part gets; `dropped` have no target.

    Where `exact` is false the parts are estimates: only the rows themselves say who stands where.
    """

    train: int
    validation: int
    test: int
    dropped: int
    exact: bool = True


@dataclass(frozen=True)
class Preparation:
    """All that decides on the arrays of a job, beside the bytes of its data set.

    Whatever prepares rows is given this record and no more, so that `key` cannot miss what they depend on.
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
    """A job in full: nothing left to decide but the numbers that training rows give."""

    spec: JobSpec
    features: tuple[Feature, ...]
    target: Target
    layers: tuple[Layer, ...]
    rows: RowCounts
    null_values: tuple[str, ...]  # texts that stand for a missing value in the table
    warnings: tuple[SpecWarning, ...]
    date_format: str | None = None  # how dates were written in the table's file, where not as ISO 8601 has it

    @property
    def preparation(self) -> Preparation:
        """What decides on the arrays that the job trains on."""
        spec = self.spec
        source = spec.data, spec.split, spec.preprocess
        return Preparation(*source, self.features, self.target, self.null_values, self.date_format)

    @property
    def inputs(self) -> int:
        """Width of the network's input."""
        return sum(feature.width for feature in self.features)

    @property
    def parameters(self) -> int:
        """Trained values of the network."""
        return count_parameters(self.layers)

    @property
    def batch_rows(self) -> int:
        """Rows of a full batch."""
        size = self.spec.batch_size
        return self.rows.train if size == "full" else min(size, self.rows.train)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch takes; a last batch of one row joins the one before it."""
        full, tail = divmod(self.rows.train, self.batch_rows)
        return full + (tail > 1)

    @property
    def array_key(self) -> str:
        """Jobs with the same key share rows, preprocessing, layer shapes and steps: they can be trained as one array.

        Free to differ: seed, rates, decays, momentum and betas, schedule, early stopping, epochs, dropout above 0,
        label smoothing.
        """
        spec = self.spec
        shared = {
            "data": spec.data.model_dump(mode="json"),
            "split": spec.split.model_dump(mode="json"),
            "preprocess": spec.preprocess.model_dump(mode="json"),
            "layers": [repr(replace(x, p=0.5) if isinstance(x, Dropout) else x) for x in self.layers],
            "task": spec.task,
            "class_weight": spec.loss.class_weight,
            "optimizer": [spec.optimizer.kind, getattr(spec.optimizer, "nesterov", False)],
            "batch_size": spec.batch_size,
            "precision": spec.precision,
            "device": spec.device,
        }
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()

    @property
    def array_limit(self) -> int:
        """How many jobs like this one may be trained together at most."""
        return max(1, min(MAX_ARRAY_PARAMETERS // self.parameters, MAX_ARRAY_VALUES // self.step_values))

    @property
    def step_values(self) -> int:
        """Values between the layers of a step, as the engine holds them."""
        return self.batch_rows * (padded(self.inputs) + sum(values_held(layer) for layer in self.layers))

    @property
    def monitor(self) -> Monitor:
        """The number that decides which epoch is best."""
        return self.spec.monitor
