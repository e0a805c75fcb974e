"""What other thresholds than 0.5 would do, for two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Bootstrap
from service.reports.curves import Ranking
from service.reports.intervals import Array, proportion
from service.reports.sections.classification import BestThreshold, Costs, ThresholdMetrics, Thresholds

GRID = [place / 20 for place in range(1, 20)]


def thresholds(
    name: str, ranking: Ranking, scores: Array, bootstrap: Bootstrap, costs: Costs | None = None
) -> Thresholds:
    """Metrics at 0.05, 0.1, ..., 0.95, and the best of all thresholds.

    scores: (N,), probabilities of the positive class `name`, which `ranking` ranks.
    """
    best = _best(ranking, costs)
    rows = _metrics([*GRID, *best.values()], ranking.positive, scores, bootstrap, costs)
    return Thresholds(
        positive=name,
        rows=rows[: len(GRID)],
        best=[BestThreshold(metric=m, at=at) for m, at in zip(best, rows[len(GRID) :], strict=True)],
    )


def _best(ranking: Ranking, costs: Costs | None) -> dict[str, float]:
    """The best threshold by metric, of those at which a prediction changes; of equally good ones the nearest to 0.5."""
    tp, fp = ranking.true_positives, ranking.false_positives
    tn = ranking.negatives - fp
    scores = {"f1": 2.0 * tp / (tp + fp + ranking.positives), "accuracy": tp + tn}
    if ranking.positives and ranking.negatives:
        scores["balanced_accuracy"] = tp / ranking.positives + tn / ranking.negatives
    if costs is not None:
        of_positives = costs.true_positive * tp + costs.false_negative * (ranking.positives - tp)
        scores["cost"] = -(of_positives + costs.false_positive * fp + costs.true_negative * tn)
    distance = np.abs(ranking.thresholds - 0.5)
    found = {}
    for metric, score in scores.items():
        candidates = np.flatnonzero(score >= score.max() - 1e-12 * np.abs(score).max())
        found[metric] = float(ranking.thresholds[candidates[distance[candidates].argmin()]])
    return found


def _metrics(
    places: list[float], positive: NDArray[np.bool_], scores: Array, bootstrap: Bootstrap, costs: Costs | None
) -> list[ThresholdMetrics]:
    rows, positives = len(positive), float(positive.sum())
    chosen = [scores >= place for place in places]
    hits = [each & positive for each in chosen]
    f1 = bootstrap.ratios(((2.0 * hit, 1.0 * at + positive) for hit, at in zip(hits, chosen, strict=True)), 0.0, 1.0)
    cost = [] if costs is None else bootstrap.means(_row_costs(costs, positive, at) for at in chosen)
    found = []
    for i, place in enumerate(places):
        tp, predicted = float(hits[i].sum()), float(chosen[i].sum())
        found.append(
            ThresholdMetrics(
                threshold=place,
                precision=proportion(tp, predicted),
                recall=proportion(tp, positives),
                f1=f1[i],
                accuracy=proportion(rows - predicted - positives + 2.0 * tp, rows),
                predicted_positive=proportion(predicted, rows),
                cost=cost[i] if cost else None,
            )
        )
    return found


def _row_costs(costs: Costs, positive: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Array:
    of_positive = np.where(predicted, costs.true_positive, costs.false_negative)
    of_negative = np.where(predicted, costs.false_positive, costs.true_negative)
    return np.where(positive, of_positive, of_negative)
