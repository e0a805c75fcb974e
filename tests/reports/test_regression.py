"""Metrics of regressions equal scikit-learn's; bins contain every row."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.reports.regression import regression_section

EXACT = {"rel": 1e-9, "abs": 1e-9}
ROWS = st.shared(st.integers(1, 120), key="rows")
NUMBERS = npst.arrays(np.float64, ROWS, elements=st.floats(-100, 100, width=16))


@given(NUMBERS, NUMBERS)
def test_scalars_are_those_of_scikit_learn(truth: Any, prediction: Any) -> None:
    found = regression_section(truth, prediction)

    assert found.rows == len(truth)
    assert found.mae.value == pytest.approx(sk.mean_absolute_error(truth, prediction), **EXACT)
    assert found.rmse.value == pytest.approx(sk.root_mean_squared_error(truth, prediction), **EXACT)
    assert found.median_absolute_error.value == pytest.approx(sk.median_absolute_error(truth, prediction), **EXACT)
    assert found.mean_residual.value == pytest.approx(np.mean(truth - prediction), **EXACT)
    if truth.all():
        expected = sk.mean_absolute_percentage_error(truth, prediction)
        assert found.mape.value == pytest.approx(expected, **EXACT)
    else:
        assert found.mape.value is None
    if len(set(truth)) > 1:
        assert found.r2.value == pytest.approx(sk.r2_score(truth, prediction), **EXACT)
    else:
        assert found.r2.value is None


@given(NUMBERS, NUMBERS)
def test_each_row_is_in_one_bin(truth: Any, prediction: Any) -> None:
    found = regression_section(truth, prediction)

    rows = len(truth)
    assert np.sum(found.predicted_actual.counts) == sum(found.residuals.counts) == rows
    for bins, values in ((found.deciles, truth), (found.residuals_by_prediction, prediction)):
        assert sum(each.rows for each in bins) == rows
        assert (bins[0].low, bins[-1].high) == (min(values), max(values))
        assert all(a.high < b.low for a, b in itertools.pairwise(bins))
        assert [each.rows for each in bins] == [((values >= b.low) & (values <= b.high)).sum() for b in bins]
    for decile in found.deciles:
        own = (truth >= decile.low) & (truth <= decile.high)
        assert decile.mae.value == pytest.approx(np.abs(truth - prediction)[own].mean(), **EXACT)
        assert decile.mean_residual.value == pytest.approx((truth - prediction)[own].mean(), **EXACT)


def test_deciles_and_residual_bins_have_about_equally_many_rows() -> None:
    rng = np.random.default_rng(0)
    truth = rng.lognormal(size=1_000)
    prediction = truth + rng.normal(size=1_000)

    found = regression_section(truth, prediction)

    assert [each.rows for each in found.deciles] == [100] * 10
    assert [each.rows for each in found.residuals_by_prediction] == [50] * 20
    first = found.residuals_by_prediction[0]
    own = prediction <= first.high
    assert first.quantiles == np.quantile((truth - prediction)[own], [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()


def test_an_outlier_is_counted_in_the_outer_bin_and_does_not_widen_the_others() -> None:
    residuals = np.concatenate([np.linspace(-1.0, 1.0, 999), [1e9]])
    prediction = np.linspace(0.0, 10.0, 1_000)

    found = regression_section(prediction + residuals, prediction)

    assert found.residuals.edges[-1] < 1.1
    assert found.residuals.counts[-1] >= 20
    assert found.predicted_actual.edges[-1] < 12
    assert found.rmse.value == pytest.approx(1e9 / np.sqrt(1_000), rel=1e-6)


def test_numbers_whose_squares_overflow_have_undefined_metrics_not_infinite_ones() -> None:
    truth = np.array([1e200, -1e200, 3.0])

    found = regression_section(truth, -truth)

    assert found.rmse.value is None
    assert found.mae.value == pytest.approx(4e200 / 3)
