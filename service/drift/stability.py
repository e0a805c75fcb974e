"""Population stability index (PSI): by how much the shares of bins differ, and by how much they would without drift."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.drift.bins import Counts, training_counts
from service.drift.profile import NumberProfile

EMPTY = 0.5
"""Rows that an empty bin counts as."""
FALSE_ALARMS = 0.05
"""Probability that any of the columns exceeds its limit without drift."""
DRAWS = 5_000
TAIL = 0.02
"""Rarer values than this share of the draws are extrapolated by an exponential distribution."""
SEED = 0


class WithoutDrift(NamedTuple):
    """The PSI of rows that come from where the training rows come from."""

    expected: float
    """Its mean."""
    limit: float
    """What it exceeds rarely."""


def psi(training: Counts, rows: Counts) -> NDArray[np.float64]:
    """(...) sum over bins of (q - p) ln(q / p), where p and q are the bins' shares of training rows (..., B) and of
    other rows (..., B). An empty bin counts as half a row; one that is empty on both sides does not count."""
    p = np.maximum(training, EMPTY) / np.maximum(1, training.sum(axis=-1, keepdims=True))
    q = np.maximum(rows, EMPTY) / np.maximum(1, rows.sum(axis=-1, keepdims=True))
    terms = np.where((training == 0) & (rows == 0), 0.0, (q - p) * np.log(q / p))
    total: NDArray[np.float64] = terms.sum(axis=-1)
    return total


def texts_without_drift(training: Counts, rows: Counts, columns: int) -> WithoutDrift:
    """The PSI of the same texts if chance decides which of them are new rows; one of `columns` compared at once.

    This is exact for bins that depend on the sum of both counts only.
    """
    both, rng = training + rows, np.random.default_rng(SEED)
    drawn = rng.multivariate_hypergeometric(both, int(rows.sum()), DRAWS)
    return _of(psi(both - drawn, drawn), columns)


def numbers_without_drift(profile: NumberProfile, rows: int, columns: int) -> WithoutDrift:
    """The PSI of `rows` new rows without drift, by simulation; one of `columns` compared at once.

    Both tables are samples: the shares of the population are drawn from a Dirichlet distribution, and rows from them.
    For bins between quantiles it is exact: n different numbers have n + 1 gaps, each with the same share on average.
    The first one is below and the last one above all of them.
    """
    training = training_counts(profile)
    weights = np.maximum(training, EMPTY).astype(np.float64)
    if profile.counts and not _repeats_lowest(profile):
        weights[[0, 1, -2]] = 1.0, max(training[1] - 1, EMPTY), 1.0
    return _numbers_without_drift(tuple(training.tolist()), tuple(weights.tolist()), rows, columns)


def _repeats_lowest(profile: NumberProfile) -> bool:
    """Whether rows share the smallest value; then values outside the range are rare."""
    return profile.counts[0] > 1 and profile.low == (profile.edges[0] if profile.edges else profile.high)


@lru_cache(maxsize=1_000)  # columns without ties have the same counts
def _numbers_without_drift(
    training: tuple[int, ...], weights: tuple[float, ...], rows: int, columns: int
) -> WithoutDrift:
    rng = np.random.default_rng(SEED)
    return _of(psi(np.array(training), rng.multinomial(rows, rng.dirichlet(weights, DRAWS))), columns)


def _of(found: NDArray[np.float64], columns: int) -> WithoutDrift:
    """The limit is exceeded with the probability of FALSE_ALARMS / `columns` (Bonferroni)."""
    rare = FALSE_ALARMS / max(1, columns)
    limit = float(np.quantile(found, 1 - max(rare, TAIL), method="higher"))
    beyond = found[found > limit]
    if rare < TAIL and len(beyond):
        limit += float((beyond - limit).mean()) * math.log(TAIL / rare)
    return WithoutDrift(float(found.mean()), limit)
