"""Bootstrap: the distribution of statistics of rows if other rows of the same kind had been drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, sqrt
from typing import Any

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

    A statistic is a function of sums over rows, or its value plus a mean of influences. It is computed from the sums
    over the rows of each of B resamples. More than MAX_UNITS rows are resampled in random groups, called units here.
    """

    def __init__(self, rows: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        rng = np.random.default_rng(seed)
        self._seed = seed
        self._units = units = min(rows, MAX_UNITS)
        self._unit = rng.permutation(rows) % units if rows > units else None
        self._counts = np.empty((resamples, units), np.uint8)  # no unit is drawn 256 times
        for row in self._counts:
            row[:] = np.bincount(rng.integers(0, units, units), minlength=units)
        self._rows = self.sums([self.unit_sums(np.ones(rows))])

    def unit_sums(self, values: NDArray[Any]) -> Array:
        """Sums over the rows of each unit; (N,) -> (U,)."""
        if self._unit is None:
            return values.astype(np.float64)
        return np.bincount(self._unit, values, self._units).astype(np.float64)

    def sums(self, unit_sums: Sequence[Array]) -> Array:
        """Sums over the rows of each resample; M columns of (U,) -> (B, M)."""
        columns = np.stack(unit_sums, 1)
        blocks = range(0, len(self._counts), BLOCK)
        return np.concatenate([self._counts[i : i + BLOCK].astype(np.float64) @ columns for i in blocks])

    def means(self, unit_sums: Sequence[Array]) -> Array:
        """Means over the rows of each resample; M columns of (U,) -> (B, M)."""
        return self.sums(unit_sums) / self._rows

    def ratios(
        self, above: Sequence[NDArray[Any]], below: Sequence[NDArray[Any]], low: float = -np.inf, high: float = np.inf
    ) -> list[Estimate]:
        """Ratios of two sums over rows, between `low` and `high`; M columns of (N,) each."""
        if not above:
            return []
        values = np.array([_ratio(a.sum(), b.sum()) for a, b in zip(above, below, strict=True)])
        a, b = (self.sums([self.unit_sums(column) for column in columns]) for columns in (above, below))
        return estimates(values, np.divide(a, b, out=np.full_like(a, np.nan), where=b != 0.0), low, high)

    def medians(self, values: Array) -> Array:
        """Medians of resamples of the values; (N,) -> (B,).

        The k-th smallest of N uniform numbers has a beta distribution; the k-th smallest value of a resample is the
        value at that place of the sorted values. So no resample needs to be sorted.
        """
        rng = np.random.default_rng([self._seed, 1])
        ordered, rows, size = np.sort(values), len(values), len(self._counts)
        lower = (rows + 1) // 2
        place = rng.beta(lower, rows - lower + 1, size)
        found = ordered[_index(place, rows)]
        if rows % 2:
            return found
        place = 1.0 - (1.0 - place) * rng.beta(rows - lower, 1, size)  # the next one, given this one
        return (found + ordered[_index(place, rows)]) / 2.0


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b else np.nan


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
