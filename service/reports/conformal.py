"""Split conformal prediction: intervals and sets of classes that contain the truth as often as asked for.

Scores say how far the truth is from the prediction, on calibration rows that the network was not trained on. The
promise: if a new row is exchangeable with them, its truth is in the interval with a probability of at least the level,
for any network (Vovk et al., 2005; Lei et al., 2018; Sadinle et al., 2019). Rows that chose the network, as validation
rows choose the best epoch, are not quite exchangeable with new ones: with few of them, coverage is lower.
"""

from __future__ import annotations

from math import ceil, inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.intervals import Array, proportion
from service.reports.sections.calibration import ConformalCoverage


def residual_scores(truth: Array, prediction: Array) -> Array:
    """Scores of a regression: absolute residuals; (N,)."""
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the range of float64
        return np.abs(truth - prediction)


def class_scores(truth: NDArray[np.int64], probabilities: NDArray[Any]) -> Array:
    """Scores of a classifier: 1 minus the true class' probability; truth: (N,), probabilities: (N, C) -> (N,)."""
    return 1.0 - probabilities[np.arange(len(truth)), truth].astype(np.float64)


def quantile_place(rows: int, level: float) -> int:
    """Which of the scores of so many rows, counted from 1, is the quantile; beyond the last if they are too few."""
    return max(1, ceil((rows + 1) * level - 1e-9))  # (n + 1) level is rounded: 20 * 0.9 is not more than 18


def conformal_quantile(scores: Array, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n scores, for 0 < level < 1; infinite if n is too small for the level."""
    place = quantile_place(len(scores), level)
    return inf if place > len(scores) else float(np.partition(scores, place - 1)[place - 1])


def interval(prediction: Array, quantile: float | Array) -> tuple[Array, Array]:
    """Lower and upper ends around predictions, (N,) each; infinite if the quantile is."""
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the range of float64
        return prediction - quantile, prediction + quantile


def class_sets(probabilities: NDArray[Any], quantile: float) -> NDArray[np.bool_]:
    """The classes in each row's set: those with a probability of at least 1 - quantile, and the most probable one.

    So no set is empty; a row whose probabilities are not finite has all classes. Where the network is right more often
    than the level asks, the most probable class alone covers more than promised. (N, C) -> (N, C).
    """
    chosen: NDArray[np.bool_] = 1.0 - probabilities.astype(np.float64) <= quantile
    chosen[np.arange(len(chosen)), probabilities.argmax(1)] = True
    chosen[~np.isfinite(probabilities).all(1)] = True
    return chosen


def interval_coverage(scores: Array, level: float, truth: Array, prediction: Array) -> ConformalCoverage:
    """Coverage of intervals calibrated by `scores` on other rows; truth, prediction: (N,)."""
    quantile = conformal_quantile(scores, level)
    lower, upper = interval(prediction, quantile)
    covered = (lower <= truth) & (truth <= upper)
    return _coverage(scores, level, quantile, covered, 2.0 * quantile)


def set_coverage(
    scores: Array, level: float, truth: NDArray[np.int64], probabilities: NDArray[Any]
) -> ConformalCoverage:
    """Coverage of sets calibrated by `scores` on other rows; truth: (N,), probabilities: (N, C)."""
    quantile = conformal_quantile(scores, level)
    sets = class_sets(probabilities, quantile)
    covered = sets[np.arange(len(truth)), truth]
    return _coverage(scores, level, quantile, covered, float(sets.sum(1).mean()) if len(sets) else inf)


def _coverage(
    scores: Array, level: float, quantile: float, covered: NDArray[np.bool_], size: float
) -> ConformalCoverage:
    return ConformalCoverage(
        level=level,
        calibration_rows=len(scores),
        quantile=quantile if isfinite(quantile) else None,
        rows=len(covered),
        coverage=proportion(float(covered.sum()), len(covered)),
        mean_size=size if isfinite(size) else None,
    )
