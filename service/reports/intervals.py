"""Confidence intervals of one number: from bootstrap draws, or of a proportion."""

from __future__ import annotations

from math import erf, isfinite, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from service.reports.sections.estimate import Estimate

Array = NDArray[np.float64]

LEVEL = 0.95
Z = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0)
T_OF_FEW = {2: 12.706, 3: 4.303, 4: 3.182}
"""The quantile of Student's t, by rows."""

UNDEFINED = Estimate(value=None, low=None, high=None)


def percentile(value: float, draws: Array, low: float = -np.inf, high: float = np.inf) -> Estimate:
    """The value with the interval of the central 95% of its draws, within `low` and `high`; draws: (B,)."""
    return _between(value, draws, (1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0, low, high)


def bca(
    value: float, draws: Array, influences: Array, rows: float, low: float = -np.inf, high: float = np.inf
) -> Estimate:
    """The value with its BCa interval (bias-corrected and accelerated; Efron, 1987), within `low` and `high`.

    draws: (B,), NaN where undefined; influences: (U,), of the resampled units on the value, but for a factor. The
    acceleration is their skewness. With few rows the interval is expanded as one of Student's t is (Hesterberg, 2015).
    """
    drawn = draws[np.isfinite(draws)]
    spread = float(influences @ influences)
    if not len(drawn) or spread <= 0.0 or not isfinite(spread):
        return percentile(value, draws, low, high)
    acceleration = float((influences**3).sum()) / (6.0 * spread**1.5)
    below = float(np.mean(drawn < value) + np.mean(drawn == value) / 2.0)
    bias = NormalDist().inv_cdf(min(max(below, 0.01), 0.99))
    z = _expanded_z(rows)
    places = [bias + (bias + side) / (1.0 - acceleration * (bias + side)) for side in (-z, z)]
    first, last = (0.5 + 0.5 * erf(place / sqrt(2.0)) for place in places)
    return _between(value, draws, first, last, low, high)


def _expanded_z(rows: float) -> float:
    """The quantile of Student's t times sqrt(n / (n - 1)); at least five rows count."""
    n = max(rows, 5.0)
    return student_t(n) * sqrt(n / (n - 1.0))


def student_t(rows: float) -> float:
    """The quantile of Student's t for a two-sided interval of the mean of at least two rows; from five on by Fisher's
    expansion."""
    if rows < 5.0:
        return T_OF_FEW[int(rows)]
    freedom = rows - 1.0
    return Z + (Z**3 + Z) / (4.0 * freedom) + (5.0 * Z**5 + 16.0 * Z**3 + 3.0 * Z) / (96.0 * freedom**2)


def _between(value: float, draws: Array, first: float, last: float, low: float, high: float) -> Estimate:
    """The value with two quantiles of its draws.

    There is no interval where half of the draws are undefined, and where all are equal: that happens to a statistic at
    its bound, e.g. without a single error, and does not mean that it is certain.
    """
    if not isfinite(value):
        return UNDEFINED
    drawn = draws[np.isfinite(draws)]
    if 2 * len(drawn) < len(draws) or np.ptp(drawn) <= 1e-12 * abs(value):
        return Estimate(value=value, low=None, high=None)
    below, above = np.clip(np.quantile(drawn, [first, last]), low, high).tolist()
    return Estimate(value=value, low=below, high=above)


def proportion(hits: float, rows: float) -> Estimate:
    """A share of rows with Wilson's score interval (1927), which is not empty at 0 and 1; undefined for no rows."""
    if not rows:
        return UNDEFINED
    share, z2 = hits / rows, Z * Z
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z * sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows)) / (1 + z2 / rows)
    return Estimate(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half))
