"""Conformal intervals and sets cover the truth as often as asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.reports import conformal


def regression(rng: np.random.Generator, rows: int) -> tuple[Any, Any]:
    """(truth, prediction) with noise of heavy tails that grows with the prediction."""
    prediction = rng.lognormal(size=rows)
    return prediction + prediction * rng.standard_t(3, size=rows), prediction


def classification(rng: np.random.Generator, rows: int) -> tuple[Any, Any]:
    """(truth, probabilities) of four classes, right in two of three rows and too sure."""
    logits = rng.normal(size=(rows, 4), scale=2.0)
    truth = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    powers = np.exp(1.5 * logits)
    return truth, (powers / powers.sum(1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("calibration_rows", [29, 1_000])
def test_intervals_have_the_coverage_asked_for_over_200_repeats(calibration_rows: int) -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        scores = conformal.residual_scores(*regression(rng, calibration_rows))
        found.append(conformal.interval_coverage(scores, 0.9, *regression(rng, 2_000)).coverage.value)

    assert 0.88 < np.mean(np.array(found, float)) < 0.92


@pytest.mark.parametrize("calibration_rows", [29, 1_000])
def test_sets_of_classes_have_the_coverage_asked_for_over_200_repeats(calibration_rows: int) -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        scores = conformal.class_scores(*classification(rng, calibration_rows))
        found.append(conformal.set_coverage(scores, 0.9, *classification(rng, 2_000)).coverage.value)

    assert 0.88 < np.mean(np.array(found, float)) < 0.92


@given(npst.arrays(np.float64, st.integers(0, 60), elements=st.floats(0, 10)), st.floats(0.01, 0.999))
def test_the_quantile_leaves_the_promised_share_of_scores_below_it(scores: Any, level: float) -> None:
    quantile = conformal.conformal_quantile(scores, level)

    rows = len(scores)
    if np.isinf(quantile):
        assert rows < level * (rows + 1)
    else:
        assert (scores <= quantile).sum() >= level * (rows + 1) - 1e-6
        assert (scores < quantile).sum() < level * (rows + 1)


def test_19_rows_suffice_for_a_level_of_95_percent_and_18_do_not() -> None:
    scores = np.arange(1.0, 20.0)

    assert conformal.conformal_quantile(scores, 0.95) == 19.0
    assert conformal.conformal_quantile(scores, 0.9) == 18.0
    assert conformal.conformal_quantile(scores[:18], 0.95) == np.inf


def test_too_few_rows_give_infinite_intervals_and_sets_of_all_classes() -> None:
    rng = np.random.default_rng(0)
    intervals = conformal.interval_coverage(np.ones(5), 0.9, *regression(rng, 20))
    truth, probabilities = classification(rng, 20)
    sets = conformal.set_coverage(np.ones(5), 0.9, truth, probabilities)

    assert (intervals.quantile, intervals.mean_size, intervals.coverage.value) == (None, None, 1.0)
    assert (sets.quantile, sets.mean_size, sets.coverage.value) == (None, 4.0, 1.0)
    assert conformal.class_sets(probabilities, np.inf).all()


@given(st.integers(0, 2**32), st.floats(0.0, 1.0))
def test_sets_are_never_empty_and_grow_with_the_quantile(seed: int, quantile: float) -> None:
    _, probabilities = classification(np.random.default_rng(seed), 50)

    sets = conformal.class_sets(probabilities, quantile)

    assert sets.any(1).all()
    assert sets[np.arange(50), probabilities.argmax(1)].all()
    assert (conformal.class_sets(probabilities, quantile + 0.1) >= sets).all()


def test_a_row_without_numbers_has_all_classes() -> None:
    outputs = np.array([[0.9, 0.1, 0.0], [np.nan, np.nan, np.nan], [0.5, np.inf, 0.5]])

    assert conformal.class_sets(outputs, 0.5).tolist() == [[True, False, False], [True] * 3, [True] * 3]


def test_a_classifier_that_is_right_more_often_than_asked_covers_more() -> None:
    probabilities = np.tile(np.array([0.9, 0.1], np.float32), (1_000, 1))
    truth = (np.arange(1_000) % 50 == 0).astype(np.int64)

    found = conformal.set_coverage(conformal.class_scores(truth, probabilities), 0.9, truth, probabilities)

    assert found.coverage.value == 0.98
    assert found.mean_size == 1.0
