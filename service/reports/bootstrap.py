"""Bootstrap: the distribution of statistics of rows if other rows of the same kind had been drawn."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from service.reports.sections.estimate import Estimate

Array = NDArray[np.float64]

RESAMPLES = 1_000
MAX_UNITS = 20_000
"""Rows above this number are resampled in this many random groups, so that time and memory are bounded."""
BLOCK = 100  # resamples whose counts are floats at once: 16 MB
LEVEL = 0.95
Z = 1.959963984540054  # the normal distribution's quantile at (1 + LEVEL) / 2


class Bootstrap:
    """Resamples of N rows with replacement, the same for all statistics; they depend on `rows` and `seed` alone.

    A statistic is a function of sums over rows, or approximated by a mean of influences. It is computed from the sums
    over each resample's rows. Intervals are percentile intervals.
    """

    def __init__(self, rows: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        rng = np.random.default_rng(seed)
        self.rows = rows
        self._units = units = min(rows, MAX_UNITS)
        self._unit = rng.permutation(rows) % units if rows > units else None
        self._counts = np.empty((resamples, units), np.uint8)  # a row drawn 256 times among thousands: never
        for row in self._counts:
            row[:] = np.bincount(rng.integers(0, units, units), minlength=units)
        self._rng = rng

    def sums(self, values: NDArray[np.generic]) -> Array:
        """Sums over the rows of each resample; values: (N, M) -> (B, M)."""
        per_unit = values.astype(np.float64)
        if self._unit is not None:
            columns = [np.bincount(self._unit, column, self._units) for column in values.T]
            per_unit = np.stack(columns, 1) if columns else np.empty((self._units, 0))
        blocks = range(0, len(self._counts), BLOCK)
        return np.concatenate([self._counts[i : i + BLOCK].astype(np.float64) @ per_unit for i in blocks])

    def means(self, values: NDArray[np.generic]) -> Array:
        """Means over the rows of each resample; values: (N, M) -> (B, M)."""
        sums = self.sums(np.column_stack([values, np.ones(len(values))]))
        return sums[:, :-1] / sums[:, -1:]

    def medians(self, values: Array) -> Array:
        """Medians of resamples of the values; (N,) -> (B,).

        The k-th smallest of N uniform numbers has a beta distribution; the k-th smallest value of a resample is the
        value at that place of the sorted values. So no resample needs to be sorted.
        """
        ordered, rows, size = np.sort(values), len(values), len(self._counts)
        lower = (rows + 1) // 2
        place = self._rng.beta(lower, rows - lower + 1, size)
        found = ordered[_index(place, rows)]
        if rows % 2:
            return found
        place = 1.0 - (1.0 - place) * self._rng.beta(rows - lower, 1, size)  # the next one, given this one
        return (found + ordered[_index(place, rows)]) / 2.0


def _index(place: Array, rows: int) -> NDArray[np.int64]:
    return np.minimum((place * rows).astype(np.int64), rows - 1)


def estimate(value: float, draws: Array, low: float = -np.inf, high: float = np.inf) -> Estimate:
    """The value with its percentile interval, within the statistic's range; draws: (B,), NaN where undefined."""
    return estimates(np.array([value]), draws[:, None], low, high)[0]


def estimates(values: Array, draws: Array, low: float = -np.inf, high: float = np.inf) -> list[Estimate]:
    """Values with their percentile intervals; values: (M,), draws: (B, M).

    There is no interval where the value is undefined, where half of the draws are, and where all draws are equal: that
    happens to a statistic at its bound, e.g. without a single error, and does not mean that it is certain.
    """
    return list(_estimates(values, draws, low, high))


def _estimates(values: Array, draws: Array, low: float, high: float) -> Iterator[Estimate]:
    for value, column in zip(values.tolist(), draws.T, strict=True):
        drawn = column[np.isfinite(column)]
        if not isfinite(value):
            yield UNDEFINED
        elif 2 * len(drawn) < len(column) or np.ptp(drawn) <= 1e-12 * abs(value):
            yield Estimate(value=value, low=None, high=None)
        else:
            ends = np.quantile(drawn, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
            below, above = np.clip(ends, low, high).tolist()
            yield Estimate(value=value, low=below, high=above)


UNDEFINED = Estimate(value=None, low=None, high=None)


def proportion(hits: float, rows: float) -> Estimate:
    """A share of rows with Wilson's score interval (1927), which is not empty at 0 and 1; undefined for no rows."""
    if not rows:
        return UNDEFINED
    share, z2 = hits / rows, Z * Z
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z * sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows)) / (1 + z2 / rows)
    return Estimate(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half))
