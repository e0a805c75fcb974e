"""Feature encoding: a column -> network inputs; fitted on training rows, stored as JSON beside the weights."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.category_values import TargetMeans, frequencies, vocabulary
from service.data.preprocess.piecewise import fit_edges, write_bins
from service.data.preprocess.scaling import (
    LARGEST,
    Knots,
    fit_knots,
    fit_robust,
    moments,
    robust_scaled,
    scored,
    standardized,
)
from service.spec.base import Strict
from service.spec.column_reading import has_clock
from service.spec.resolved import DATE_INPUTS, Feature
from service.spec.table import ColumnType, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.data.preprocess.summaries import NumberSummary

DAY = 86_400.0  # seconds
CYCLES = {"day": 1.0, "week": 7.0, "year": 365.2425}  # days

Numeric = Literal["standardize", "robust", "quantile", "piecewise_linear", "none"]


def uses_quantiles(kind: ColumnType, numeric: Numeric) -> bool:
    """Whether such a column is scaled by quantiles of its training values."""
    return kind not in (ColumnType.boolean, ColumnType.text) and numeric in ("quantile", "robust", "piecewise_linear")


class FittedFeature(Strict):
    """The fitted encoding of one column.

    Text: one-hot, with one more input for all other texts, or the numbers of `values`; or a code, which has an
    embedding in the network. Number or boolean: (value - mean) / scale, or a normal score interpolated between knots.
    Date: the same for the days since `origin`, then sine and cosine of its position in the day, week and year. Then the
    piecewise-linear encoding, if any. If values are missing in the data set, one more 0/1 input, or code, for missing.
    """

    column: str
    """The column's name."""
    type: ColumnType = ColumnType.number
    """What its values are."""
    categories: list[str] | None = None
    """The texts that have an input, or numbers in `values`, in order; null for anything but text."""
    other: bool = False
    """Whether one more input stands for all other texts."""
    origin: float = 0.0
    """The earliest training date, in seconds since 1970; other numbers start at 0."""
    fill: float = 0.0
    """What stands for a missing number: the training mean, or the median where there are knots or a smooth clip."""
    mean: float = 0.0
    """Subtracted from a number: the training mean, or the median with a smooth clip."""
    scale: float = 1.0
    """Divides a number: the training deviation, or the difference of the quartiles with a smooth clip, where 0 makes
    the input 0."""
    smooth_clip: bool = False
    """Whether a scaled number z becomes z / sqrt(1 + (z / 3)^2)."""
    knots: Knots | None = None
    """Training values and the normal score of each, at most 128; null unless `quantile` was asked for."""
    bins: int = 0
    """Inputs of the piecewise-linear encoding."""
    edges: list[float] = []
    """Edges of its bins, rising; where there are fewer bins than inputs, the last inputs are 0."""
    values: list[list[float]] | None = None
    """The inputs of each text by its frequency or mean target, then those of all other texts and of missing ones; null
    where texts are one-hot encoded."""
    indicator: bool
    """Whether a last input, or code, says that the value is missing."""
    embedding_size: int | None = None
    """The size of the embedding of a column that has a code instead of inputs: 0 for none, then one for each category,
    for all other texts, and for missing."""

    @classmethod
    def fit(
        cls, feature: Feature, values: NDArray[Any], numeric: Numeric, means: TargetMeans | None = None
    ) -> FittedFeature:
        """Fit to the training values: (n,) float64 with NaN, dates in seconds since 1970, or (n,) objects with None.

        `means`: of the training rows' target, for target encoding; without, texts are encoded by frequency.
        """
        fitted = cls._of(feature)
        if feature.value_inputs:
            return fitted._with_values(feature.value_inputs, values, means)
        if feature.categories is not None:
            return fitted
        if feature.type is ColumnType.datetime and not np.isnan(values).all():
            fitted = fitted.model_copy(update={"origin": float(np.nanmin(values))})
        numbers = fitted._numbers(values)
        return fitted.model_copy(update=fitted._scaling(numeric, lambda: numbers, lambda: moments(numbers)))

    @classmethod
    def of_summary(cls, feature: Feature, summary: NumberSummary, numeric: Numeric) -> FittedFeature:
        """Fit to a summary of the training values; one of nothing for texts, which are one-hot encoded or have codes.

        It needs quantiles where `uses_quantiles`.
        """
        fitted = cls._of(feature)
        if feature.categories is not None:
            return fitted
        dates = feature.type is ColumnType.datetime
        if dates and summary.count:
            fitted = fitted.model_copy(update={"origin": summary.smallest})

        def own_moments() -> tuple[float, float]:
            mean, scale = summary.moments()
            constant = summary.smallest >= summary.largest
            return ((mean - fitted.origin) / DAY, scale if constant else scale / DAY) if dates else (mean, scale)

        scaling = fitted._scaling(numeric, lambda: fitted._numbers(summary.representatives()), own_moments)
        return fitted.model_copy(update=scaling)

    @classmethod
    def _of(cls, feature: Feature) -> FittedFeature:
        """Without what is fitted to values."""
        encodes_texts = feature.categories is not None and not feature.value_inputs
        return cls(
            column=feature.column,
            type=feature.type,
            categories=list(feature.categories or ()) if encodes_texts else None,
            embedding_size=feature.embedding_size if encodes_texts else None,
            other=feature.other,
            bins=feature.bins,
            indicator=feature.indicator,
        )

    def _with_values(self, inputs: int, texts: NDArray[Any], means: TargetMeans | None) -> FittedFeature:
        categories = vocabulary(texts, inputs)
        codes, count = class_indexes(texts, categories), len(categories)
        found = frequencies(codes, count) if means is None else means.of_categories(codes, count)
        # The shortest decimals that are the same float32.
        values = [
            [float(str(number)) for number in row] for row in np.clip(found, -LARGEST, LARGEST).astype(np.float32)
        ]
        return self.model_copy(update={"categories": categories, "values": values})

    def _scaling(
        self,
        numeric: Numeric,
        numbers: Callable[[], NDArray[np.float64]],
        moments_of_all: Callable[[], tuple[float, float]],
    ) -> dict[str, Any]:
        """The fields that are fitted to numbers (n,), and to their moments."""
        if uses_quantiles(self.type, numeric):
            found = numbers()
            if numeric == "quantile":
                knots, median = fit_knots(found)
                return {"knots": knots, "fill": median}
            median, scale = fit_robust(found)
            edges = fit_edges(found, self.bins) if self.bins else []
            return {"fill": median, "mean": median, "scale": scale, "smooth_clip": True, "edges": edges}
        mean, scale = moments_of_all()
        return (
            {"fill": mean, "mean": mean, "scale": scale} if numeric in ("standardize", "quantile") else {"fill": mean}
        )

    @property
    def input_names(self) -> list[str]:
        """A name for each input: `mass`, `mass, bin 1`, `when, days`, `when, sine of the day`, `island=Biscoe`,
        `sex is missing`."""
        if self.embedding_size is not None:
            return []
        if self.values is not None:
            names = [f"{self.column}, value {place + 1}" for place in range(len(self.values[-1]))]
            names = names if len(names) > 1 else [f"{self.column}, value"]
        elif self.categories is not None:
            names = [f"{self.column}={category}" for category in self.categories]
            names += [f"{self.column}=(other)"] * self.other
        elif self.type is ColumnType.datetime:
            waves = [f"{self.column}, {wave} of the {cycle}" for cycle in CYCLES for wave in ("sine", "cosine")]
            names = [f"{self.column}, days", *waves]
        else:
            names = [self.column]
        names += [f"{self.column}, bin {place + 1}" for place in range(self.bins)]
        return names + [f"{self.column} is missing"] * self.indicator

    @property
    def clock(self) -> bool:
        """Whether a date column may contain times of day alone."""
        return has_clock(self)

    @property
    def width(self) -> int:
        """Number of inputs."""
        return len(self.input_names)

    def write(self, values: NDArray[Any], inputs: NDArray[np.float32]) -> None:
        """Encode `values` (n,) into `inputs` (n, width), rounded to float32 once; always finite."""
        if self.categories is not None:
            missing = np.fromiter((value is None for value in values), dtype=np.bool_, count=len(values))
            self._write_categories(values, missing, inputs)
        else:
            missing = np.isnan(values)
            self._write_numbers(values, missing, inputs)
        if self.indicator:
            inputs[:, -1] = missing

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """(n,) the codes of the texts `values` (n,): 0 for none, as for texts without an input if one-hot encoded."""
        categories = self.categories or []
        codes = class_indexes(values, categories)
        missing = np.fromiter((value is None for value in values), dtype=np.bool_, count=len(values))
        of_missing = len(categories) + self.other + 1 if self.indicator else 0
        of_other = len(categories) + 1 if self.other else 0
        return np.where(missing, of_missing, np.where(codes < 0, of_other, codes + 1))

    def _write_categories(self, values: NDArray[Any], missing: NDArray[np.bool_], inputs: NDArray[np.float32]) -> None:
        categories = self.categories or []
        codes = class_indexes(values, categories)
        if self.values is not None:
            inputs[:, : len(self.values[-1])] = self._value_array[codes]
            return
        inputs[:] = 0.0
        seen = np.flatnonzero(codes >= 0)
        inputs[seen, codes[seen]] = 1.0
        if self.other:
            inputs[:, len(categories)] = (codes < 0) & ~missing

    @cached_property
    def _value_array(self) -> NDArray[np.float32]:
        """(categories + 1, inputs) the numbers of each text; -1 indexes those of all others."""
        return np.array(self.values, dtype=np.float32)

    def _write_numbers(self, values: NDArray[Any], missing: NDArray[np.bool_], inputs: NDArray[np.float32]) -> None:
        numbers = np.where(missing, self.fill, self._numbers(values))
        inputs[:, 0] = self._scaled(numbers)
        if self.type is ColumnType.datetime:
            days = np.where(missing, self.fill + self.origin / DAY, values / DAY)
            for place, period in enumerate(CYCLES.values()):
                angle = 2 * np.pi * (days / period % 1.0)
                inputs[:, 1 + 2 * place] = np.sin(angle)
                inputs[:, 2 + 2 * place] = np.cos(angle)
        if self.bins:
            start = DATE_INPUTS if self.type is ColumnType.datetime else 1
            write_bins(numbers, self.edges, inputs[:, start : start + self.bins])

    def _scaled(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        if self.knots is not None:
            return scored(numbers, self.knots)
        if self.smooth_clip:
            return robust_scaled(numbers, self.mean, self.scale)
        return standardized(numbers, self.mean, self.scale)

    def _numbers(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) the numbers to scale: days since the origin for dates."""
        return (values - self.origin) / DAY if self.type is ColumnType.datetime else values


assert 1 + 2 * len(CYCLES) == DATE_INPUTS


def class_indexes(values: NDArray[Any], classes: Sequence[Value]) -> NDArray[np.int64]:
    """(n,) indexes of `values` (n,) in `classes`, -1 for others."""
    if (
        values.dtype != object
        and classes
        and all(not isinstance(each, str) and float(each) == each for each in classes)
    ):
        known = np.array([float(each) for each in classes])
        order = np.argsort(known)
        nearest = order[np.searchsorted(known[order], values).clip(max=len(known) - 1)]
        indexes: NDArray[np.int64] = np.where(known[nearest] == values, nearest, -1)
        return indexes
    index: dict[object, int] = {value: place for place, value in enumerate(classes)}
    return np.fromiter((index.get(value, -1) for value in values.tolist()), dtype=np.int64, count=len(values))
