"""ROC and precision-recall curves of one class against all others, their areas, and the influence of rows on these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.intervals import Array
from service.reports.sections.classification import PrecisionRecallCurve, RocCurve

MAX_POINTS = 200
MACRO = "(macro)"
GRID = np.linspace(0.0, 1.0, 101)
"""Rates at which the curves of several classes are averaged."""


@dataclass(frozen=True)
class Ranking:
    """Rows by decreasing score, in groups of equal scores; G groups, N rows, of them P positive."""

    positive: NDArray[np.bool_]  # (N,)
    group: NDArray[np.int64]  # (N,) the group of each row
    thresholds: Array  # (G,) decreasing
    true_positives: Array  # (G,) positive rows with a score of at least the threshold
    false_positives: Array  # (G,) negative rows with a score of at least the threshold

    @property
    def positives(self) -> float:
        """Number of positive rows."""
        return float(self.true_positives[-1])

    @property
    def negatives(self) -> float:
        """Number of negative rows."""
        return float(self.false_positives[-1])

    @property
    def precision(self) -> Array:
        """Precision at each threshold; (G,)."""
        return self.true_positives / (self.true_positives + self.false_positives)


def rank(positive: NDArray[np.bool_], scores: NDArray[Any]) -> Ranking:
    """Order rows by score; positive and scores: (N,), N > 0."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    ends = np.concatenate([starts[1:], [True]])
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(starts) - 1
    true_positives = np.cumsum(positive[order])[ends].astype(np.float64)
    places = np.flatnonzero(ends) + 1.0
    return Ranking(positive, group, ordered[ends].astype(np.float64), true_positives, places - true_positives)


def roc_auc(ranking: Ranking) -> tuple[float, Array]:
    """Area under the ROC curve, and the influence of each row on it, (N,); NaN without positives or negatives.

    The area is the mean over positives of the share of negatives with a lower score, ties counting half, and the mean
    over negatives of the share of positives with a higher one. A row's influence is its own share minus the area
    (DeLong et al., 1988).
    """
    if not (ranking.positives and ranking.negatives):
        return np.nan, np.zeros(len(ranking.positive))
    below = (ranking.negatives - _middle(ranking.false_positives)) / ranking.negatives
    above = _middle(ranking.true_positives) / ranking.positives
    area = float(np.diff(ranking.true_positives, prepend=0.0) @ below) / ranking.positives
    of_positive = (below - area) / ranking.positives
    of_negative = (above - area) / ranking.negatives
    rows = len(ranking.positive)
    return area, rows * np.where(ranking.positive, of_positive[ranking.group], of_negative[ranking.group])


def average_precision(ranking: Ranking) -> tuple[float, Array]:
    """Area under the precision-recall curve of steps, and the influence of each row on it, (N,); NaN without positives.

    The area is the mean over positives of the precision at their score. The influence is the derivative by the row's
    weight: a positive counts itself, and each row changes the precision at its own score and at all lower ones.
    """
    if not ranking.positives:
        return np.nan, np.zeros(len(ranking.positive))
    precision = ranking.precision
    of_group = np.diff(ranking.true_positives, prepend=0.0)
    area = float(of_group @ precision) / ranking.positives
    per_row = of_group / (ranking.true_positives + ranking.false_positives)
    lower = np.cumsum(per_row[::-1])[::-1]
    lower_precision = np.cumsum((per_row * precision)[::-1])[::-1]
    of_positive = precision - area + lower - lower_precision
    rows = len(ranking.positive)
    found = np.where(ranking.positive, of_positive[ranking.group], -lower_precision[ranking.group])
    return area, found * rows / ranking.positives


def _middle(cumulative: Array) -> Array:
    """Cumulative counts up to the middle of each group."""
    before: Array = np.concatenate([[0.0], cumulative[:-1]])
    return (cumulative + before) / 2.0


def roc_points(ranking: Ranking) -> tuple[Array, Array, Array]:
    """False positive rate, true positive rate and threshold, from (0, 0) on; (G + 1,) each."""
    x, y = (
        np.concatenate([[0.0], counts / counts[-1]]) for counts in (ranking.false_positives, ranking.true_positives)
    )
    return x, y, np.concatenate([[np.inf], ranking.thresholds])


def roc_curve(name: str, ranking: Ranking) -> RocCurve:
    """The ROC curve in at most 200 points."""
    x, y, thresholds = roc_points(ranking)
    kept = _thinned(x, y)
    return RocCurve(
        name=name,
        false_positive_rate=x[kept].tolist(),
        true_positive_rate=y[kept].tolist(),
        thresholds=[None if t == np.inf else t for t in thresholds[kept].tolist()],
    )


def precision_recall_curve(name: str, ranking: Ranking) -> PrecisionRecallCurve:
    """The precision-recall curve in at most 200 points."""
    recall, precision = ranking.true_positives / ranking.positives, ranking.precision
    kept = _thinned(recall, precision)
    return PrecisionRecallCurve(
        name=name,
        recall=recall[kept].tolist(),
        precision=precision[kept].tolist(),
        thresholds=ranking.thresholds[kept].tolist(),
    )


def on_grid(ranking: Ranking) -> tuple[Array, Array]:
    """True positive rate at the false positive rates of GRID, linear between points, and precision at its recalls, in
    steps.
    """
    x, y, _ = roc_points(ranking)
    recall = ranking.true_positives / ranking.positives
    return np.interp(GRID, x, y), ranking.precision[np.searchsorted(recall, GRID)]


def macro_curves(tpr: Array, precision: Array) -> tuple[RocCurve, PrecisionRecallCurve]:
    """Curves of the means over classes; (101,) each."""
    grid, none = GRID.tolist(), [None] * len(GRID)
    return (
        RocCurve(name=MACRO, false_positive_rate=grid, true_positive_rate=tpr.tolist(), thresholds=none),
        PrecisionRecallCurve(name=MACRO, recall=grid, precision=precision.tolist(), thresholds=none),
    )


def _thinned(x: Array, y: Array) -> NDArray[np.int64]:
    """Indexes of points that lie evenly along the curve, with the first and the last one; all if they are few."""
    if len(x) <= MAX_POINTS:
        return np.arange(len(x))
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    places = np.searchsorted(length, np.linspace(0.0, length[-1], MAX_POINTS))
    return np.unique(np.concatenate([[0], np.minimum(places, len(x) - 1), [len(x) - 1]]))
