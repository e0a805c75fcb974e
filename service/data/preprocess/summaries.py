"""Moments and quantiles of a column's numbers in one pass, over chunks in a fixed order.

Moments are exact but for rounding, merged chunk by chunk (Chan, Golub, LeVeque 1983). Quantiles have a bounded error:
buffers of equal size are sorted and halved as they fill up (Munro, Paterson 1980; Manku, Rajagopalan, Lindsay 1998).
"""

from __future__ import annotations

from math import fsum, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BUFFER = 2**16
"""Values of a buffer. With n values the rank of a quantile is wrong by at most log2(n / BUFFER) / (2 BUFFER) of n, and
1 / (4 BUFFER) for the choice of `REPRESENTATIVES`: 0.01% for a billion. Up to BUFFER values it is exact."""
REPRESENTATIVES = 2 * BUFFER


class _Chunk(NamedTuple):
    """Moments of some values in units of a power of two, so that no sum of squares overflows."""

    rows: int
    unit: float
    mean: float
    variance: float


class NumberSummary:
    """Count, range, moments and, if asked for, quantiles of the numbers that were added; NaN is missing."""

    def __init__(self, quantiles: bool = False) -> None:
        self.count, self.smallest, self.largest = 0, np.inf, -np.inf
        self._chunks: list[_Chunk] = []
        self._sketch = QuantileSketch() if quantiles else None

    def add(self, values: NDArray[np.float64]) -> None:
        """Add values (n,)."""
        present = values[~np.isnan(values)]
        if not len(present):
            return
        low, high = float(present.min()), float(present.max())
        self.count += len(present)
        self.smallest, self.largest = min(self.smallest, low), max(self.largest, high)
        unit = 2.0 ** (np.frexp(max(abs(low), abs(high)))[1] - 1)
        scaled = present / unit
        self._chunks.append(_Chunk(len(present), float(unit), float(scaled.mean()), float(scaled.var())))
        if self._sketch is not None:
            self._sketch.add(present)

    def moments(self) -> tuple[float, float]:
        """(mean, population deviation), as `scaling.moments` of all values."""
        if not self.count:
            return 0.0, 1.0
        if self.smallest == self.largest:
            return self.smallest, 1.0
        unit = max(chunk.unit for chunk in self._chunks)
        chunks = [(n, mean * (own / unit), variance * (own / unit) ** 2) for n, own, mean, variance in self._chunks]
        mean = fsum(n * mean for n, mean, _ in chunks) / self.count
        variance = fsum(n * (own + (each - mean) ** 2) for n, each, own in chunks) / self.count
        return mean * unit, sqrt(variance) * unit or 1.0

    def representatives(self) -> NDArray[np.float64]:
        """(m,) values whose quantiles are those of all values, in order; with their smallest and largest."""
        assert self._sketch is not None
        return self._sketch.representatives(self.smallest, self.largest)


class QuantileSketch:
    """Buffers of values, each with a weight: level l has at most one full buffer, whose values stand for 2^l each."""

    def __init__(self) -> None:
        self._filling: list[NDArray[np.float64]] = []  # of level 0
        self._levels: list[NDArray[np.float64] | None] = []  # sorted, BUFFER values each
        self._collapsed = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """Add values (n,), none of them NaN; chunks may be cut anywhere."""
        free = BUFFER - sum(map(len, self._filling))
        while len(values) >= free:
            self._push(np.sort(np.concatenate([*self._filling, values[:free]])))
            self._filling, values, free = [], values[free:], BUFFER
        if len(values):
            self._filling.append(values.copy())

    def _push(self, full: NDArray[np.float64]) -> None:
        level = 0
        while level < len(self._levels) and (other := self._levels[level]) is not None:
            # Every other value, from the first and from the second in turn, so that errors cancel.
            full = np.sort(np.concatenate([other, full]))[self._collapsed % 2 :: 2]
            self._collapsed += 1
            self._levels[level] = None
            level += 1
        if level == len(self._levels):
            self._levels.append(None)
        self._levels[level] = full

    def representatives(self, smallest: float, largest: float) -> NDArray[np.float64]:
        """(m,) sorted values: all that were added, or REPRESENTATIVES that stand for as many of them each."""
        buffers = [(buffer, 2.0**level) for level, buffer in enumerate(self._levels) if buffer is not None]
        buffers += [(buffer, 1.0) for buffer in self._filling]
        values = np.concatenate([np.empty(0), *(buffer for buffer, _ in buffers)])
        weights = np.concatenate([np.empty(0), *(np.full(len(buffer), weight) for buffer, weight in buffers)])
        order = np.argsort(values, kind="stable")
        values, upto = values[order], np.cumsum(weights[order])
        if self._collapsed:
            ranks = (np.arange(REPRESENTATIVES) + 0.5) * (upto[-1] / REPRESENTATIVES)
            values = values[np.searchsorted(upto, ranks)]
            values[0], values[-1] = smallest, largest
        return values
