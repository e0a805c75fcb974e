"""The threshold table equals scikit-learn's metrics at each threshold, and its best ones are the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.reports.bootstrap import Bootstrap
from service.reports.curves import rank
from service.reports.sections.classification import Costs, Thresholds
from service.reports.thresholds import thresholds

EXACT = {"rel": 1e-9, "abs": 1e-9}
COSTS = Costs(false_positive=1.0, false_negative=5.0, true_positive=-2.0)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Any, Any]:
    """(positive (N,), scores (N,)), with ties."""
    rows = draw(st.integers(1, 40))
    scores = draw(npst.arrays(np.float64, rows, elements=st.sampled_from([0.0, 0.03, 0.5, 0.51, 0.7, 0.95, 1.0])))
    return draw(npst.arrays(np.bool_, rows)), scores


def table(positive: Any, scores: Any, costs: Costs | None = COSTS) -> Thresholds:
    return thresholds("yes", rank(positive, scores), scores, Bootstrap(len(scores), resamples=20), costs)


def cost(positive: Any, predicted: Any) -> float:
    false_positives, false_negatives = (predicted & ~positive).sum(), (positive & ~predicted).sum()
    return float(false_positives + 5 * false_negatives - 2 * (predicted & positive).sum()) / len(positive)


@settings(max_examples=20)
@given(scored())
def test_metrics_at_each_threshold_are_those_of_scikit_learn(rows: tuple[Any, Any]) -> None:
    positive, scores = rows

    found = table(positive, scores)

    assert found.positive == "yes"
    assert [each.threshold for each in found.rows] == [i / 20 for i in range(1, 20)]
    for each in (*found.rows, *(best.at for best in found.best)):
        predicted = scores >= each.threshold
        expected = [
            sk.precision_score(positive, predicted, zero_division=np.nan) if predicted.any() else np.nan,
            sk.recall_score(positive, predicted, zero_division=np.nan) if positive.any() else np.nan,
            sk.f1_score(positive, predicted, zero_division=np.nan),
            sk.accuracy_score(positive, predicted),
            predicted.mean(),
            cost(positive, predicted),
        ]
        assert each.cost is not None
        own = (each.precision, each.recall, each.f1, each.accuracy, each.predicted_positive, each.cost)
        assert [np.nan if e.value is None else e.value for e in own] == pytest.approx(expected, nan_ok=True, **EXACT)


@given(scored())
def test_no_other_threshold_is_better_than_the_best_or_as_good_and_nearer_to_one_half(rows: tuple[Any, Any]) -> None:
    positive, scores = rows
    measures = {
        "f1": lambda at: sk.f1_score(positive, at, zero_division=0.0),
        "accuracy": lambda at: sk.accuracy_score(positive, at),
        "balanced_accuracy": lambda at: (at[positive].mean() + 1 - at[~positive].mean()) / 2,
        "cost": lambda at: -cost(positive, at),
    }

    found = table(positive, scores)

    both = positive.any() and not positive.all()
    assert [best.metric for best in found.best] == [name for name in measures if both or name != "balanced_accuracy"]
    for best in found.best:
        threshold = best.at.threshold
        value = measures[best.metric](scores >= threshold)
        others = {other: measures[best.metric](scores >= other) for other in set(scores.tolist())}
        assert value >= max(others.values()) - 1e-9
        equal = [other for other, reached in others.items() if reached >= value - 1e-9]
        assert abs(threshold - 0.5) == min(abs(other - 0.5) for other in equal)


def test_without_costs_there_are_none() -> None:
    found = table(np.array([True, False]), np.array([0.7, 0.2]), costs=None)

    assert [each.cost for each in found.rows] == [None] * 19
    assert "cost" not in {best.metric for best in found.best}
