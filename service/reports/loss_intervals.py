"""Intervals of losses, and of differences of two losses of the same rows, which are paired."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Bootstrap
from service.reports.intervals import bca
from service.reports.rows import Truth
from service.reports.sections.estimate import Estimate


class Sample(NamedTuple):
    """A loss of some rows."""

    value: float
    draws: NDArray[np.float64]
    """(B,) its values in resamples."""
    influences: NDArray[np.float64]
    """(U,) of the resampled units on the value."""
    rows: int


class LossIntervals:
    """K losses of the same N rows, all resampled together."""

    def __init__(self, truth: Truth, row_losses: NDArray[np.float64], seed: int = 0) -> None:
        """`row_losses`: (N, K), whose means are losses or squared RMSEs; `seed`: of the resamples."""
        bootstrap, self._rows = Bootstrap(len(row_losses), seed), len(row_losses)
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
        return Sample(float(self.values[0]), self._draws[:, 0], self._influences[:, 0] / self._rows, self._rows)


def difference_of_samples(one: LossIntervals, other: LossIntervals) -> Estimate:
    """The first loss of some rows minus that of other rows, which are resampled independently, with another seed."""
    first, second = one.first(), other.first()
    influences = np.concatenate([first.influences, -second.influences])
    return bca(first.value - second.value, first.draws - second.draws, influences, min(first.rows, second.rows))
