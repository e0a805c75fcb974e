"""Population stability index (PSI): by how much the shares of bins differ, and by how much they would without drift."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.drift.bins import Counts

EMPTY = 0.5
"""Rows that an empty bin counts as."""
FALSE_ALARMS = 0.05
"""Probability that any of the columns exceeds its limit without drift."""
MIN_DRAWS, MAX_DRAWS = 2_000, 5_000
DRAWS_PER_COLUMN = 100
SEED = 0


class WithoutDrift(NamedTuple):
    """The PSI of rows that come from where the training rows come from."""

    expected: float
    """Its mean."""
    limit: float
    """What it exceeds rarely."""


def psi(training: Counts, rows: Counts) -> NDArray[np.float64]:
    """(...) sum over bins of (q - p) ln(q / p), where p and q are the bins' shares of training rows (B,) and of other
    rows (..., B). An empty bin counts as half a row; one that is empty on both sides does not count."""
    p = np.maximum(training, EMPTY) / max(1, training.sum())
    q = np.maximum(rows, EMPTY) / np.maximum(1, rows.sum(axis=-1, keepdims=True))
    terms = np.where((training == 0) & (rows == 0), 0.0, (q - p) * np.log(q / p))
    total: NDArray[np.float64] = terms.sum(axis=-1)
    return total


def without_drift(training: Counts, rows: int, columns: int) -> WithoutDrift:
    """The PSI of `rows` new rows without drift, by simulation; one of `columns` that are compared at once.

    Both tables are samples: the shares of the population are drawn from their posterior, a Dirichlet distribution
    (for bins between quantiles it is exact), and rows from them. The limit is exceeded with the probability of
    FALSE_ALARMS / `columns` (Bonferroni).
    """
    return _without_drift(tuple(training.tolist()), rows, columns)


@lru_cache(maxsize=1_000)  # columns without ties have the same counts
def _without_drift(training: tuple[int, ...], rows: int, columns: int) -> WithoutDrift:
    draws = min(max(DRAWS_PER_COLUMN * columns, MIN_DRAWS), MAX_DRAWS)
    rng, counts = np.random.default_rng(SEED), np.array(training)
    shares = rng.dirichlet(np.maximum(counts, EMPTY), draws)
    found = psi(counts, rng.multinomial(rows, shares))
    limit = np.quantile(found, 1 - FALSE_ALARMS / max(1, columns), method="higher")
    return WithoutDrift(float(found.mean()), float(limit))
