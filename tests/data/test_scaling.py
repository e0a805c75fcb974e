"""The quantile transform: equals that of scikit-learn, is monotonic, finite and small."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import QuantileTransformer

from service.data.preprocess.scaling import MAX_KNOTS, fit_knots, scored

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("draw", ["exponential", "standard_cauchy", "standard_normal"])
def test_any_distribution_becomes_normal_as_with_scikit_learn(draw: str) -> None:
    values = getattr(np.random.default_rng(0), draw)(size=20_000)
    sklearn = QuantileTransformer(output_distribution="normal", n_quantiles=1_000, subsample=None)

    knots, median = fit_knots(values)
    scores = scored(values, knots)

    expected = sklearn.fit_transform(values[:, None])[:, 0]
    bulk = np.abs(expected) < 2.5
    assert np.abs(scores - expected)[bulk].max() < 0.05
    assert (scores.mean(), scores.std()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))
    assert median == pytest.approx(np.median(values), abs=0.001)


@given(st.lists(NUMBERS, max_size=400), st.lists(NUMBERS, min_size=1, max_size=50))
def test_scores_are_finite_rise_with_the_value_and_have_few_knots(train: list[float], values: list[float]) -> None:
    knots, median = fit_knots(np.array([*train, np.nan]))

    scores = scored(np.sort(values), knots)

    assert len(knots[0]) == len(knots[1]) <= MAX_KNOTS
    assert np.isfinite(scores).all()
    assert (np.diff(scores) >= -1e-6).all()
    assert np.abs(scores).max() <= NormalDist().inv_cdf(1 - 0.5 / max(len(train), 1)) + 1e-5
    assert median in [*train, 0.0]


def test_equal_values_have_the_score_of_their_middle_rank() -> None:
    knots, _ = fit_knots(np.array([1.0] * 5 + [2.0] * 10 + [3.0] * 5))

    assert scored(np.array([1.0, 2.0, 3.0, 2.5, 99.0]), knots).tolist() == pytest.approx(
        [NormalDist().inv_cdf(p) for p in (0.125, 0.5, 0.875)] + [0.575175, 1.150349], abs=1e-5
    )


def test_a_constant_and_nothing_at_all_score_0() -> None:
    for train in (np.full(9, 7.0), np.full(9, np.nan), np.array([])):
        knots, _ = fit_knots(train)
        assert scored(np.array([-1.0, 7.0, 1e308]), knots).tolist() == [0, 0, 0]


def test_the_knots_of_a_million_values_are_a_few_kilobytes_of_json() -> None:
    knots, _ = fit_knots(np.random.default_rng(0).standard_normal(1_000_000) * 1e-7)

    assert len(json.dumps(knots)) < 5_000
