"""Predictions of several members for held-out rows, averaged row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import Conflict


@dataclass(frozen=True)
class HeldOut:
    """Averaged predictions of N rows."""

    row: NDArray[np.int64]
    """(N,) row numbers in the table, rising."""
    truth: NDArray[Any]
    """(N,) class indexes or numbers."""
    values: NDArray[np.float64]
    """(N, V): probabilities of V classes, or one number."""
    members: NDArray[np.int64]
    """(N,) number of members that each row's mean is over."""


class WeightedMean:
    """The weighted mean of members that each predict other rows: of the folds of a table, for example."""

    def __init__(self, width: int, truth: type[np.float64] | type[np.int64]) -> None:
        """`width`: number of values that a row has; `truth`: type of the true values."""
        self._row = np.empty(0, np.int64)
        self._truth = np.empty(0, truth)
        self._sums = np.empty((0, width))
        self._weights = np.empty(0)
        self._members = np.empty(0, np.int64)

    def add(self, row: NDArray[np.int64], truth: NDArray[Any], values: NDArray[Any], weight: float = 1.0) -> None:
        """Add a member's predictions, (n, V), of different rows (n,).

        Raises Conflict if another member has other true values for the same rows: those of other data.
        """
        known = np.union1d(self._row, row)
        kept, new = np.searchsorted(known, self._row), np.searchsorted(known, row)
        for name in ("_truth", "_sums", "_weights", "_members"):
            before = getattr(self, name)
            after = np.zeros((len(known), *before.shape[1:]), before.dtype)
            after[kept] = before
            setattr(self, name, after)
        self._row = known
        if np.any((self._truth[new] != truth) & (self._members[new] > 0)):
            raise Conflict("the rows of the members differ: they were trained on different data")
        self._truth[new] = truth
        self._sums[new] += weight * values.astype(np.float64)
        self._weights[new] += weight
        self._members[new] += 1

    def rows_of(self, members: int = 1) -> HeldOut:
        """The rows that at least so many members predict, each averaged over those that do."""
        shared = self._members >= members
        means = self._sums[shared] / self._weights[shared, None]
        return HeldOut(self._row[shared], self._truth[shared], means, self._members[shared])
