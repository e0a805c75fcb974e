"""Scaling of numbers: standardization, robust scaling with a smooth clip, the quantile transform to a normal."""

from __future__ import annotations

import sys
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
SMOOTH_CLIP = 3.0
"""Bound of robustly scaled values."""
MAX_KNOTS = 128
SCORE_DIGITS = 6

Knots = tuple[list[float], list[float]]
"""Values, rising, and the normal score of each."""

_normal = NormalDist()


def standardized(values: NDArray[np.float64], mean: float, scale: float) -> NDArray[np.float32]:
    """(n,) float32, clipped to the largest finite number."""
    with np.errstate(over="ignore"):
        return np.clip((values - mean) / scale, -LARGEST, LARGEST).astype(np.float32)


def moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """(mean, population deviation) of the numbers present; (0, 1) without any, deviation 1 for a constant.

    Divided by a power of two first, so that no sum of squares overflows.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return 0.0, 1.0
    smallest, largest = float(present.min()), float(present.max())
    if smallest == largest:
        return smallest, 1.0
    unit = 2.0 ** (np.frexp(max(abs(smallest), abs(largest)))[1] - 1)
    scaled = present / unit
    # Subnormal numbers may still deviate by nothing.
    return float(scaled.mean() * unit), float(scaled.std() * unit) or 1.0


def fit_robust(values: NDArray[np.float64]) -> tuple[float, float]:
    """(median, scale) of the numbers present, for `robust_scaled`; (0, 0) without any.

    The scale is the difference of the quartiles; where they are equal, half the range; 0 for a constant (RealMLP,
    Holzmüller et al. 2024, arXiv 2407.04491). Quantiles are computed in quarters, so that no difference overflows.
    """
    quarters = values[~np.isnan(values)] / 4
    if not len(quarters):
        return 0.0, 0.0
    low, median, high = (float(each) for each in np.quantile(quarters, [0.25, 0.5, 0.75]))
    scale = high - low if high > low else float(quarters.max() - quarters.min()) / 2
    return 4 * median, min(4 * scale, sys.float_info.max)


def robust_scaled(values: NDArray[np.float64], median: float, scale: float) -> NDArray[np.float32]:
    """(n,) float32: z / sqrt(1 + (z / 3)^2), between -3 and 3, of z = (value - median) / scale; 0 if the scale is 0."""
    if scale == 0.0:
        return np.zeros(len(values), dtype=np.float32)
    with np.errstate(over="ignore"):
        z = np.clip((values - median) / scale, -LARGEST, LARGEST)
    clipped: NDArray[np.float64] = z / np.sqrt(1 + (z / SMOOTH_CLIP) ** 2)
    return clipped.astype(np.float32)


def fit_knots(values: NDArray[np.float64]) -> tuple[Knots, float]:
    """(at most 128 knots, the median) of the numbers present; a single knot at 0 without any.

    A value's score is the normal quantile of its mid-rank: the share of values below it plus half the share equal to
    it. So ties have one score, and no score is infinite. Where there are more values than knots, these stand evenly
    spaced in the score, not in rank: the tails, where ranks say little, keep their shape.
    """
    found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    if not len(found):
        return ([0.0], [0.0]), 0.0
    ranks = np.cumsum(counts)
    shares = (ranks - counts / 2) / ranks[-1]
    places: Any = range(len(found))
    if len(found) > MAX_KNOTS:
        first, last = _normal.inv_cdf(shares[0]), _normal.inv_cdf(shares[-1])
        wanted = [_normal.cdf(score) for score in np.linspace(first, last, MAX_KNOTS)]
        # First and last are explicit, so that rounding cannot lose them.
        places = np.unique([0, *np.searchsorted(shares, wanted[1:-1]), len(found) - 1])
    scores = [round(_normal.inv_cdf(shares[place]), SCORE_DIGITS) for place in places]
    median = found[np.searchsorted(ranks, ranks[-1] / 2)]
    return ([float(found[place]) for place in places], scores), float(median)


def scored(values: NDArray[np.float64], knots: Knots) -> NDArray[np.float32]:
    """(n,) float32 normal scores, linear between the knots and constant beyond them."""
    at, scores = np.array(knots[0]), np.array(knots[1])
    # Halved twice, so that no difference of two values overflows; a slope that does is clipped.
    with np.errstate(over="ignore", invalid="ignore"):
        between = np.interp(values / 4, at / 4, scores)
    within: NDArray[np.float64] = np.clip(between, scores[0], scores[-1])
    return within.astype(np.float32)
