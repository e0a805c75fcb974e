"""Preprocessing: a table -> network inputs and targets; fitted on training rows, stored as JSON beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.category_values import TargetMeans
from service.data.preprocess.features import FittedFeature, class_indexes
from service.data.preprocess.scaling import moments, standardized
from service.data.preprocess.summaries import NumberSummary
from service.engine_constants import ALIGNMENT, VALUE_BYTES, padded
from service.errors import DatasetCorrupt
from service.spec.base import Strict
from service.spec.column_reading import null_values_of
from service.spec.input_layout import layout_of
from service.spec.layers import InputLayout
from service.spec.resolved import Link, Preparation, Target
from service.spec.table import Value

MAX_LOG_RATE = 80.0
"""Largest output of a network with link `log`, so that no rate overflows: e^80 is 5.5e34."""
BLOCK_ROWS = 2**14
"""Rows that are encoded at a time, whose inputs fit into the CPU cache."""


@dataclass(frozen=True)
class Table:
    """A table in memory: columns by name, each with `rows` values.

    Numbers, integers and booleans are (rows,) float64 with NaN if missing; texts are (rows,) objects, str or None.
    """

    columns: dict[str, NDArray[Any]]
    rows: int
    stored_rows: NDArray[np.int64] | None = None  # (rows,) their numbers in the stored table; None: all of its rows

    def numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) numbers in the stored table, from 0, of these rows (n,)."""
        return rows if self.stored_rows is None else self.stored_rows[rows]


class FittedTarget(Strict):
    """The fitted encoding of the target: a class index, or (value - mean) / scale, of which the network with link `log`
    gives the logarithm."""

    column: str
    """The column's name."""
    classes: list[Value] | None = None
    """The classes in the order of the outputs; null for regression."""
    mean: float = 0.0
    """The training mean of a number; 0 with link `log`."""
    scale: float = 1.0
    """The training deviation of a number; with link `log` the training mean, or 1 where that is 0."""
    link: Link = "identity"
    """How the network's output becomes a number: output x scale + mean, or exp(output) x scale, where the output is at
    most 80."""
    low: float | None = None
    """The smallest training number, to which predictions are clipped; null: they are not."""
    high: float | None = None
    """The largest training number, to which predictions are clipped."""

    @classmethod
    def fit(cls, target: Target, values: NDArray[Any], clip: bool = False) -> FittedTarget:
        """Fit to the training values: (n,). `clip`: predictions of a number are clipped to their range."""
        if target.classes is not None:
            return cls(column=target.column, classes=list(target.classes))
        low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if clip else (None, None)
        return cls._of_number(target, moments(values), low, high)

    @classmethod
    def of_summary(cls, target: Target, summary: NumberSummary, clip: bool = False) -> FittedTarget:
        """Fit to a summary of the training values, which may be one of nothing where there are classes."""
        if target.classes is not None:
            return cls(column=target.column, classes=list(target.classes))
        low, high = (summary.smallest, summary.largest) if clip else (None, None)
        return cls._of_number(target, summary.moments(), low, high)

    @classmethod
    def _of_number(
        cls, target: Target, found: tuple[float, float], low: float | None, high: float | None
    ) -> FittedTarget:
        mean, scale = found
        if target.link == "log":
            return cls(column=target.column, scale=mean or 1.0, link="log", low=low, high=high)
        return cls(column=target.column, mean=mean, scale=scale, low=low, high=high)

    def encoded(self, values: NDArray[Any]) -> NDArray[np.int64] | NDArray[np.float32]:
        """(n,) int64 class indexes, or (n,) float32 standardized values. Raises DatasetCorrupt."""
        if self.classes is None:
            return standardized(values, self.mean, self.scale)
        codes = class_indexes(values, self.classes)
        if (codes < 0).any():
            raise DatasetCorrupt(f"column {self.column!r} holds a value that its profile does not list")
        return codes


class Preprocessing(Strict):
    """The fitted preprocessing: raw rows -> network inputs, and network outputs -> values."""

    features: list[FittedFeature]
    """The feature columns, in the order of the network inputs."""
    target: FittedTarget
    """The target column."""
    null_values: list[str] = []
    """Texts that mean a missing value in the data set."""
    date_format: str | None = None
    """How dates are written in the data set's file; null where as ISO 8601 has it, or there are none."""

    def nulls_of(self, feature: FittedFeature) -> set[str]:
        """Null values of a column in rows to predict; its categories are not among them."""
        return null_values_of(self, feature)

    @classmethod
    def fit(cls, preparation: Preparation, table: Table, train_rows: NDArray[np.int64]) -> Preprocessing:
        """Means, deviations, quantiles and imputed values of the rows numbered by `train_rows` (n,) alone."""
        numeric, target = preparation.preprocess.numeric, preparation.target
        values = table.columns[target.column][train_rows]
        fitted = FittedTarget.fit(target, values, preparation.preprocess.clip_target)
        means = _target_means(preparation, fitted.encoded(values)) if _encodes_by_target(preparation) else None
        return cls(
            features=[
                FittedFeature.fit(f, table.columns[f.column][train_rows], numeric, means) for f in preparation.features
            ],
            target=fitted,
            null_values=list(preparation.null_values),
            date_format=preparation.date_format,
        )

    @property
    def input_names(self) -> list[str]:
        """A name for each input: `bill_length_mm`, `island=Biscoe`, `sex is missing`."""
        return [name for feature in self.features for name in feature.input_names]

    @property
    def layout(self) -> InputLayout:
        """What the network reads of a row."""
        return layout_of(self.features)

    def inputs(self, table: Table) -> NDArray[np.float32]:
        """(rows, inputs) float32, always finite."""
        inputs = np.empty((table.rows, sum(feature.width for feature in self.features)), dtype=np.float32)
        end = 0
        for feature in self.features:
            start, end = end, end + feature.width
            if end > start:
                feature.write(table.columns[feature.column], inputs[:, start:end])
        return inputs

    def padded_inputs(self, table: Table, order: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, padded inputs) float32 of the rows numbered by `order` (n,): the inputs, always finite, then zeros.

        By blocks of rows, which fit into the CPU cache, and without an ordered copy of the table.
        """
        inputs = _aligned_zeros(len(order), padded(self.layout.numbers))
        ends = list(accumulate((feature.width for feature in self.features), initial=0))
        for first in range(0, len(order), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            for feature, start, end in zip(self.features, ends, ends[1:], strict=False):
                if end > start:
                    feature.write(table.columns[feature.column][order[rows]], inputs[rows, start:end])
        return inputs

    def codes(self, table: Table) -> NDArray[np.int64] | None:
        """(rows, coded columns) int64, each below the number of codes of its column; None without such columns."""
        coded = [feature for feature in self.features if feature.embedding_size is not None]
        if not coded:
            return None
        return np.stack([feature.codes(table.columns[feature.column]) for feature in coded], axis=1)

    def encode_out_of_fold(
        self, preparation: Preparation, table: Table, inputs: NDArray[np.float32], train_rows: NDArray[np.int64]
    ) -> None:
        """Write target encodings out of fold, if there are any, into the inputs of the training rows.

        `inputs`: (n, inputs or more) of the rows that this was fitted on, `train_rows`. Raises DatasetCorrupt.
        """
        if not _encodes_by_target(preparation):
            return
        means = _target_means(preparation, self.target.encoded(table.columns[self.target.column][train_rows]))
        end = 0
        for feature in self.features:
            start, end = end, end + feature.width
            if feature.values is not None:
                categories = feature.categories or []
                codes = class_indexes(table.columns[feature.column][train_rows], categories)
                inputs[:, start : start + len(feature.values[-1])] = means.out_of_fold(codes, len(categories))

    def targets(self, table: Table) -> NDArray[np.int64] | NDArray[np.float32]:
        """(rows,) int64 class indexes, or (rows,) float32 standardized values. Raises DatasetCorrupt."""
        return self.target.encoded(table.columns[self.target.column])

    def unstandardize(self, values: NDArray[np.number[Any]]) -> NDArray[np.float64]:
        """Regression outputs (n,) in the target's own unit, clipped if `clip_target`, else infinite beyond float64."""
        with np.errstate(over="ignore"):
            found = values.astype(np.float64)
            if self.target.link == "log":
                found = np.exp(np.minimum(found, MAX_LOG_RATE))
            found = found * self.target.scale + self.target.mean
        return found if self.target.low is None else np.clip(found, self.target.low, self.target.high)


def _aligned_zeros(rows: int, width: int) -> NDArray[np.float32]:
    """(rows, width) of zeros, aligned as torch aligns its tensors, because the bits of a product may depend on it."""
    size = rows * width * VALUE_BYTES
    memory = np.zeros(size + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(np.float32).reshape(rows, width)


def _encodes_by_target(preparation: Preparation) -> bool:
    wide = any(feature.value_inputs for feature in preparation.features)
    return wide and preparation.preprocess.high_cardinality == "target"


def _target_means(preparation: Preparation, y: NDArray[np.int64] | NDArray[np.float32]) -> TargetMeans:
    """The means of the training rows' target; y: (n,)."""
    classes = len(preparation.target.classes or ())
    return TargetMeans(y, classes, preparation.preprocess.target_smoothing, preparation.split.seed)
