"""Intervals of losses, and of differences of two losses of the same rows, which are paired."""

from __future__ import annotations

from math import hypot, isfinite, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Bootstrap
from service.reports.intervals import UNDEFINED, bca, student_t
from service.reports.rows import Truth
from service.reports.sections.estimate import Estimate


class Sample(NamedTuple):
    """A loss of some rows."""

    value: float
    deviation: float
    """The standard deviation of the rows' influences on the value; that of the mean of n rows is its 1 / sqrt(n)."""
    rows: int


class LossIntervals:
    """K losses of the same N rows, all resampled together."""

    def __init__(self, truth: Truth, row_losses: NDArray[np.float64]) -> None:
        """`row_losses`: (N, K), whose means are losses or squared RMSEs."""
        bootstrap, self._rows = Bootstrap(len(row_losses)), len(row_losses)
        units = [bootstrap.unit_sums(column) for column in (*row_losses.T, np.ones(self._rows))]
        sums = bootstrap.sums(units)
        self._draws = truth.of_mean(np.maximum(sums[:, :-1] / sums[:, -1:], 0.0))  # (B, K)
        means = row_losses.mean(0)
        self.values = truth.of_mean(means)  # (K,)
        influences = np.stack(units[:-1], axis=1) - means * units[-1][:, None]
        slopes = 1.0 if truth.loss != "rmse" else 0.5 / np.where(self.values > 0, self.values, np.inf)
        self._influences = influences * slopes  # (U, K)

    def each(self) -> list[Estimate]:
        """The K losses."""
        places = range(len(self.values))
        return [bca(float(self.values[k]), self._draws[:, k], self._influences[:, k], self._rows, 0.0) for k in places]

    def differences(self, values: NDArray[np.float64] | None = None) -> list[Estimate]:
        """The losses from the second one on, minus the first; `values` (K - 1,) in place of these differences."""
        found = self.values[1:] - self.values[0] if values is None else values
        draws = self._draws[:, 1:] - self._draws[:, :1]
        influences = self._influences[:, 1:] - self._influences[:, :1]
        return [bca(float(value), draws[:, k], influences[:, k], self._rows) for k, value in enumerate(found)]

    def first(self) -> Sample:
        """The first loss."""
        own = self._influences[:, 0]
        deviation = float(np.sqrt(own @ own / max(1, self._rows - 1)))
        return Sample(float(self.values[0]), deviation, self._rows)


def difference_of_samples(new: LossIntervals, known: LossIntervals) -> Estimate:
    """The first loss of new rows minus that of known rows, which are independent of them.

    The interval is one of Student's t with one degree of freedom less than the smaller number of rows. The losses of
    few rows may vary less than those of many only because the rare large ones are not among them, so the new rows are
    taken to vary at least as much as the known ones. There is no interval where either are less than two rows or have
    equal losses, and where a loss is beyond the range of float64.
    """
    first, second = new.first(), known.first()
    value = first.value - second.value
    if not isfinite(value):
        return UNDEFINED
    rows = min(first.rows, second.rows)
    equal = any(sample.deviation <= 1e-9 * abs(sample.value) for sample in (first, second))
    if rows < 2 or equal:
        return Estimate(value=value, low=None, high=None)
    deviation = max(first.deviation, second.deviation)
    half = student_t(rows) * hypot(deviation / sqrt(first.rows), second.deviation / sqrt(second.rows))
    if not isfinite(half):
        return Estimate(value=value, low=None, high=None)
    return Estimate(value=value, low=value - half, high=value + half)
