"""Bootstrap: the distribution of statistics of rows if other rows of the same kind had been drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.intervals import Array, bca
from service.reports.sections.estimate import Estimate

RESAMPLES = 1_000
MAX_UNITS = 20_000
"""Rows above this number are resampled in this many random groups, so that time and memory are bounded."""
BLOCK = 100  # resamples whose counts are floats at once: 16 MB


class Bootstrap:
    """Resamples of N rows with replacement, the same for all statistics; they depend on `rows` and `seed` alone.

    A statistic is computed from the sums over the rows of each of B resamples: it is a function of such sums, or its
    value plus the mean of the rows' influences. More than MAX_UNITS rows are resampled in random groups, called units.
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

    def ratios(
        self, columns: Iterable[tuple[NDArray[Any], NDArray[Any]]], low: float = -np.inf, high: float = np.inf
    ) -> list[Estimate]:
        """Ratios of two sums over rows, between `low` and `high`; pairs of columns (N,), the second ones >= 0."""
        parts = [(self.unit_sums(top), self.unit_sums(bottom), np.count_nonzero(bottom)) for top, bottom in columns]
        if not parts:
            return []
        a, b = self.sums([top for top, _, _ in parts]), self.sums([bottom for _, bottom, _ in parts])
        draws = np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0.0)
        found = []
        for (top, bottom, rows), drawn in zip(parts, draws.T, strict=True):
            value = float(top.sum() / bottom.sum()) if rows else np.nan
            found.append(bca(value, drawn, top - value * bottom, int(rows), low, high))
        return found

    def means(self, columns: Iterable[NDArray[Any]], low: float = -np.inf, high: float = np.inf) -> list[Estimate]:
        """Means over rows, between `low` and `high`; columns of (N,)."""
        return self.ratios(((column, np.ones(len(column), np.bool_)) for column in columns), low, high)

    def linear(
        self, values: Sequence[float], influences: Sequence[Array], rows: Sequence[float], low: float, high: float
    ) -> list[Estimate]:
        """Statistics whose draws are approximated by their values plus the mean influence of a resample's rows.

        M values between `low` and `high`; influences: unit sums, (U,) each; rows: how many rows each depends on.
        """
        draws = np.array(values) + self.sums(influences) / self._rows
        parts = zip(values, draws.T, influences, rows, strict=True)
        return [bca(value, drawn, influence, number, low, high) for value, drawn, influence, number in parts]

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


def _index(place: Array, rows: int) -> NDArray[np.int64]:
    return np.minimum((place * rows).astype(np.int64), rows - 1)
