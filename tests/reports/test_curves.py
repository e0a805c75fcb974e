"""Curves equal scikit-learn's; long ones are thinned and their areas stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.reports import curves
from service.reports.classification import classification_section

EXACT = {"rel": 1e-9, "abs": 1e-9}


@st.composite
def ranked(draw: st.DrawFn) -> tuple[Any, Any]:
    """(positive (N,), scores (N,)) with ties, of both classes."""
    rows = draw(st.integers(2, 80))
    scores = draw(npst.arrays(np.float64, rows, elements=st.integers(0, 30).map(lambda i: i / 30)))
    positive = draw(npst.arrays(np.bool_, rows))
    positive[:2] = [True, False]
    return positive, scores


@given(ranked())
def test_points_are_those_of_scikit_learn(rows: tuple[Any, Any]) -> None:
    positive, scores = rows
    ranking = curves.rank(positive, scores)
    false_positive_rate, true_positive_rate, thresholds = sk.roc_curve(positive, scores, drop_intermediate=False)
    precision, recall, thresholds_by_recall = sk.precision_recall_curve(positive, scores)

    roc, by_recall = curves.roc_curve("a", ranking), curves.precision_recall_curve("a", ranking)

    assert roc.false_positive_rate == pytest.approx(false_positive_rate, **EXACT)
    assert roc.true_positive_rate == pytest.approx(true_positive_rate, **EXACT)
    assert roc.thresholds == [None, *thresholds[1:]]
    assert by_recall.recall == pytest.approx(recall[-2::-1], **EXACT)  # without its added end (0, 1)
    assert by_recall.precision == pytest.approx(precision[-2::-1], **EXACT)
    assert by_recall.thresholds == thresholds_by_recall[::-1].tolist()


@given(ranked())
def test_areas_are_those_of_scikit_learn_and_influences_are_their_derivatives(rows: tuple[Any, Any]) -> None:
    positive, scores = rows
    ranking = curves.rank(positive, scores)
    for own, theirs in (
        (curves.roc_auc, sk.roc_auc_score),
        (curves.average_precision, sk.average_precision_score),
    ):
        area, influences = own(ranking)

        assert area == pytest.approx(theirs(positive, scores), **EXACT)
        assert influences.mean() == pytest.approx(0.0, abs=1e-9)
        heavier = np.ones(len(positive))
        heavier[0] += 1e-5
        derivative = (theirs(positive, scores, sample_weight=heavier) - area) / 1e-5
        assert influences[0] / len(positive) == pytest.approx(derivative, abs=1e-3)


def test_a_long_curve_has_at_most_200_points_of_the_whole_one_and_nearly_its_area() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(20_000) < 0.3
    scores = 1 / (1 + np.exp(-rng.normal(size=20_000) - positive))
    ranking = curves.rank(positive, scores)

    roc, by_recall = curves.roc_curve("a", ranking), curves.precision_recall_curve("a", ranking)

    whole = sk.roc_curve(positive, scores, drop_intermediate=False)
    points = set(zip(*(each.tolist() for each in whole[:2]), strict=True))
    assert 150 < len(roc.thresholds) <= curves.MAX_POINTS + 2
    assert points.issuperset(zip(roc.false_positive_rate, roc.true_positive_rate, strict=True))
    assert sk.auc(roc.false_positive_rate, roc.true_positive_rate) == pytest.approx(
        sk.roc_auc_score(positive, scores), abs=1e-3
    )
    assert len(by_recall.recall) <= curves.MAX_POINTS + 2
    assert (by_recall.recall[-1], by_recall.precision[-1]) == (1.0, positive.mean())


def test_the_macro_curves_are_means_of_the_classes_curves() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 500)
    probabilities = rng.dirichlet(np.ones(4), 500) * 0.5 + 0.5 * np.eye(4)[truth] * rng.random((500, 1))
    probabilities /= probabilities.sum(1, keepdims=True)
    grid = np.linspace(0.0, 1.0, 101)
    rates, precisions = [], []
    for i in range(4):
        x, y, _ = sk.roc_curve(truth == i, probabilities[:, i])
        rates.append(np.interp(grid, x, y))
        precision, recall, _ = sk.precision_recall_curve(truth == i, probabilities[:, i])
        precisions.append([precision[np.flatnonzero(recall >= r)[-1]] if r else precision[-2] for r in grid])

    found = classification_section(truth, probabilities, ["a", "b", "c", "d"])

    assert [each.name for each in found.roc] == ["a", "b", "c", "d", "(macro)"]
    assert found.roc[-1].false_positive_rate == grid.tolist()
    assert found.roc[-1].true_positive_rate == pytest.approx(np.mean(rates, 0), **EXACT)
    assert found.precision_recall[-1].precision == pytest.approx(np.mean(precisions, 0), **EXACT)


def test_of_two_classes_the_second_has_the_curves() -> None:
    truth = np.array([0, 1, 1, 0, 1])
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9]])

    found = classification_section(truth, probabilities, ["no", "yes"])

    assert [each.name for each in found.roc] == [each.name for each in found.precision_recall] == ["yes"]
    assert found.roc_auc == found.classes[1].roc_auc
    assert found.average_precision == found.classes[1].average_precision
