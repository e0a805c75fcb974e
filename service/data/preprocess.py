"""Columns -> inputs and targets of a network: fitted on training rows, stored as JSON beside the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.table import Table
from service.errors import DatasetCorrupt
from service.spec.base import Strict
from service.spec.resolve import Feature, Resolved, Target
from service.spec.table import Value

LARGEST = float(np.finfo(np.float32).max)


class FittedFeature(Strict):
    """How one column becomes inputs: (value - mean) / scale, or a 0/1 per category; plus a 0/1 for missing."""

    column: str
    """The column's name."""
    categories: list[str] | None = None
    """The texts that have an input, in order; null for a number."""
    fill: float = 0.0
    """What stands for a missing number: the training mean."""
    mean: float = 0.0
    """Subtracted from a number."""
    scale: float = 1.0
    """Divides a number: the training deviation."""
    indicator: bool
    """Whether a last input says that the value is missing."""

    @classmethod
    def fit(cls, feature: Feature, values: NDArray[Any], *, standardize: bool) -> FittedFeature:
        """Fit to the training values: (n,) float64 with NaN, or (n,) objects with None."""
        if feature.categories is not None:
            return cls(
                column=feature.column, categories=[str(v) for v in feature.categories], indicator=feature.indicator
            )
        mean, scale = _moments(values)
        fitted = cls(column=feature.column, fill=mean, indicator=feature.indicator)
        return fitted.model_copy(update={"mean": mean, "scale": scale}) if standardize else fitted

    @property
    def input_names(self) -> list[str]:
        """A name for each input."""
        values = [self.column] if self.categories is None else [f"{self.column}={c}" for c in self.categories]
        return values + [f"{self.column} is missing"] * self.indicator

    @property
    def width(self) -> int:
        """How many inputs the column gives."""
        return (1 if self.categories is None else len(self.categories)) + self.indicator

    def write(self, values: NDArray[Any], inputs: NDArray[np.float32]) -> None:
        """Turn `values` (n,) into `inputs` (n, inputs of this column), rounded to float32 once."""
        if self.categories is None:
            missing = np.isnan(values)
            filled = np.where(missing, self.fill, values)
            inputs[:, 0] = _standardized(filled, self.mean, self.scale)
        else:
            missing = np.fromiter((value is None for value in values), dtype=np.bool_, count=len(values))
            codes = class_indexes(values, self.categories)
            seen = np.flatnonzero(codes >= 0)
            inputs[:] = 0.0
            inputs[seen, codes[seen]] = 1.0
        if self.indicator:
            inputs[:, -1] = missing


class FittedTarget(Strict):
    """How the target becomes a class index, or (value - mean) / scale."""

    column: str
    """The column's name."""
    classes: list[Value] | None = None
    """The classes in the order of the outputs; null for regression."""
    mean: float = 0.0
    """The training mean of a number."""
    scale: float = 1.0
    """The training deviation of a number."""

    @classmethod
    def fit(cls, target: Target, values: NDArray[Any]) -> FittedTarget:
        """Fit to the training values: (n,)."""
        if target.classes is not None:
            return cls(column=target.column, classes=list(target.classes))
        mean, scale = _moments(values)
        return cls(column=target.column, mean=mean, scale=scale)


class Preprocessing(Strict):
    """Everything needed to turn raw rows into a network's inputs, and its outputs back into values."""

    features: list[FittedFeature]
    """The columns that are learnt from, in the order of the inputs."""
    target: FittedTarget
    """The column that is learnt."""
    null_values: list[str] = []
    """Texts that stand for a missing value in the data set."""

    @classmethod
    def fit(cls, resolved: Resolved, table: Table, train_rows: NDArray[np.int64]) -> Preprocessing:
        """Means, deviations and imputed values of the rows numbered by `train_rows` (n,), and of no others."""
        standardize = resolved.spec.preprocess.numeric == "standardize"
        return cls(
            features=[
                FittedFeature.fit(f, table.columns[f.column][train_rows], standardize=standardize)
                for f in resolved.features
            ],
            target=FittedTarget.fit(resolved.target, table.columns[resolved.target.column][train_rows]),
            null_values=list(resolved.null_values),
        )

    @property
    def input_names(self) -> list[str]:
        """A name for each input: `bill_length_mm`, `island=Biscoe`, `sex is missing`."""
        return [name for feature in self.features for name in feature.input_names]

    def inputs(self, table: Table) -> NDArray[np.float32]:
        """(rows, inputs) float32, always finite. Texts not seen in the data set give zeros."""
        inputs = np.empty((table.rows, sum(feature.width for feature in self.features)), dtype=np.float32)
        end = 0
        for feature in self.features:
            start, end = end, end + feature.width
            feature.write(table.columns[feature.column], inputs[:, start:end])
        return inputs

    def targets(self, table: Table) -> NDArray[np.int64] | NDArray[np.float32]:
        """(rows,) int64 class indexes, or (rows,) float32 standardized values. Raises DatasetCorrupt."""
        values = table.columns[self.target.column]
        if self.target.classes is None:
            return _standardized(values, self.target.mean, self.target.scale)
        codes = class_indexes(values, self.target.classes)
        if (codes < 0).any():
            raise DatasetCorrupt(f"column {self.target.column!r} holds a value that its profile does not list")
        return codes

    def unstandardize(self, values: NDArray[np.number[Any]]) -> NDArray[np.float64]:
        """Regression outputs (n,) in the target's own unit; infinite beyond float64."""
        with np.errstate(over="ignore"):
            return values.astype(np.float64) * self.target.scale + self.target.mean


def class_indexes(values: NDArray[Any], classes: Sequence[Value]) -> NDArray[np.int64]:
    """(n,) places of `values` (n,) in `classes`, -1 for a value that is not there."""
    index: dict[object, int] = {value: place for place, value in enumerate(classes)}
    return np.fromiter((index.get(value, -1) for value in values.tolist()), dtype=np.int64, count=len(values))


def _standardized(values: NDArray[np.float64], mean: float, scale: float) -> NDArray[np.float32]:
    """(n,) float32, what would be infinite there at the largest number."""
    with np.errstate(over="ignore"):
        return np.clip((values - mean) / scale, -LARGEST, LARGEST).astype(np.float32)


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """(mean, population deviation) of the numbers present; (0, 1) without any, deviation 1 for a constant.

    Divided by a power of two first, so that no sum of squares overflows.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return 0.0, 1.0
    smallest, largest = float(present.min()), float(present.max())
    if smallest == largest:
        return smallest, 1.0
    unit = 2.0 ** (np.frexp(max(abs(smallest), abs(largest)))[1] - 1)
    scaled = present / unit
    # Subnormal numbers may still deviate by nothing.
    return float(scaled.mean() * unit), float(scaled.std() * unit) or 1.0
