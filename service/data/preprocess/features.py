"""Feature encoding: a column -> network inputs; fitted on training rows, stored as JSON beside the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.scaling import Knots, fit_knots, moments, scored, standardized
from service.spec.base import Strict
from service.spec.resolved import DATE_INPUTS, Feature
from service.spec.table import ColumnType, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = 86_400.0  # seconds
CYCLES = {"day": 1.0, "week": 7.0, "year": 365.2425}  # days

Numeric = Literal["standardize", "quantile", "none"]


class FittedFeature(Strict):
    """The fitted encoding of one column.

    Text: one-hot, with one more input for all other texts; or a code, which has an embedding in the network. Number or
    boolean: (value - mean) / scale, or a normal score interpolated between knots. Date: the same for the days since
    `origin`, then sine and cosine of its position in the day, week and year. If values are missing in the data set, one
    more 0/1 input, or code, for missing.
    """

    column: str
    """The column's name."""
    type: ColumnType = ColumnType.number
    """What its values are."""
    categories: list[str] | None = None
    """The texts that have an input, in order; null for anything but text."""
    other: bool = False
    """Whether one more input stands for all other texts."""
    origin: float = 0.0
    """The earliest training date, in seconds since 1970; other numbers start at 0."""
    fill: float = 0.0
    """What stands for a missing number: the training mean, or the median where there are knots."""
    mean: float = 0.0
    """Subtracted from a number."""
    scale: float = 1.0
    """Divides a number: the training deviation."""
    knots: Knots | None = None
    """Training values and the normal score of each, at most 128; null unless `quantile` was asked for."""
    indicator: bool
    """Whether a last input, or code, says that the value is missing."""
    embedding_size: int | None = None
    """The size of the embedding of a column that has a code instead of inputs: 0 for none, then one for each category,
    for all other texts, and for missing."""

    @classmethod
    def fit(cls, feature: Feature, values: NDArray[Any], numeric: Numeric) -> FittedFeature:
        """Fit to the training values: (n,) float64 with NaN, dates in seconds since 1970, or (n,) objects with None."""
        fitted = cls(column=feature.column, type=feature.type, other=feature.other, indicator=feature.indicator)
        if feature.categories is not None:
            update = {"categories": list(feature.categories), "embedding_size": feature.embedding_size}
            return fitted.model_copy(update=update)
        if feature.type is ColumnType.datetime and not np.isnan(values).all():
            fitted = fitted.model_copy(update={"origin": float(np.nanmin(values))})
        numbers = fitted._numbers(values)
        if numeric == "quantile" and feature.type is not ColumnType.boolean:
            knots, median = fit_knots(numbers)
            return fitted.model_copy(update={"knots": knots, "fill": median})
        mean, scale = moments(numbers)
        moved = {} if numeric == "none" else {"mean": mean, "scale": scale}
        return fitted.model_copy(update={"fill": mean, **moved})

    @property
    def input_names(self) -> list[str]:
        """A name for each input: `mass`, `when, days`, `when, sine of the day`, `island=Biscoe`, `sex is missing`."""
        if self.embedding_size is not None:
            return []
        if self.categories is not None:
            names = [f"{self.column}={category}" for category in self.categories]
            names += [f"{self.column}=(other)"] * self.other
        elif self.type is ColumnType.datetime:
            waves = [f"{self.column}, {wave} of the {cycle}" for cycle in CYCLES for wave in ("sine", "cosine")]
            names = [f"{self.column}, days", *waves]
        else:
            names = [self.column]
        return names + [f"{self.column} is missing"] * self.indicator

    @property
    def clock(self) -> bool:
        """Whether a date column may contain times of day alone."""
        return 0 <= self.origin < DAY

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
        codes = class_indexes(values, [*categories, None])
        missing = codes == len(categories)
        of_missing = len(categories) + self.other + 1 if self.indicator else 0
        of_other = len(categories) + 1 if self.other else 0
        return np.where(missing, of_missing, np.where(codes < 0, of_other, codes + 1))

    def _write_categories(self, values: NDArray[Any], missing: NDArray[np.bool_], inputs: NDArray[np.float32]) -> None:
        categories = self.categories or []
        codes = class_indexes(values, categories)
        inputs[:] = 0.0
        seen = np.flatnonzero(codes >= 0)
        inputs[seen, codes[seen]] = 1.0
        if self.other:
            inputs[:, len(categories)] = (codes < 0) & ~missing

    def _write_numbers(self, values: NDArray[Any], missing: NDArray[np.bool_], inputs: NDArray[np.float32]) -> None:
        numbers = np.where(missing, self.fill, self._numbers(values))
        scale = standardized(numbers, self.mean, self.scale) if self.knots is None else scored(numbers, self.knots)
        inputs[:, 0] = scale
        if self.type is ColumnType.datetime:
            days = np.where(missing, self.fill + self.origin / DAY, values / DAY)
            for place, period in enumerate(CYCLES.values()):
                angle = 2 * np.pi * (days / period % 1.0)
                inputs[:, 1 + 2 * place] = np.sin(angle)
                inputs[:, 2 + 2 * place] = np.cos(angle)

    def _numbers(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) the numbers to scale: days since the origin for dates."""
        return (values - self.origin) / DAY if self.type is ColumnType.datetime else values


assert 1 + 2 * len(CYCLES) == DATE_INPUTS


def class_indexes(values: NDArray[Any], classes: Sequence[Value | None]) -> NDArray[np.int64]:
    """(n,) indexes of `values` (n,) in `classes`, -1 for others."""
    index: dict[object, int] = {value: place for place, value in enumerate(classes)}
    return np.fromiter((index.get(value, -1) for value in values.tolist()), dtype=np.int64, count=len(values))
