"""Intervals contain the true value of a metric as often as they say, and equal scipy's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from service.reports.bootstrap import MAX_UNITS, Bootstrap
from service.reports.classification import classification_section
from service.reports.intervals import bca, percentile, proportion
from service.reports.regression import regression_section
from service.reports.sections.estimate import Estimate

REPEATS = 400


def classified(rng: np.random.Generator, rows: int) -> dict[str, Estimate]:
    """Metrics of an overconfident classifier of three classes, of which one has a seventh of the rows."""
    truth = rng.choice(3, rows, p=[3 / 7, 3 / 7, 1 / 7])
    logits = 2.25 * (rng.normal(size=(rows, 3)) + 1.5 * np.eye(3)[truth])
    powers = np.exp(logits)
    seed = int(rng.integers(2**32))
    found = classification_section(truth, powers / powers.sum(1, keepdims=True), ["a", "b", "c"], seed=seed)
    small = found.classes[2]
    metrics = ("accuracy", "balanced_accuracy", "log_loss", "brier_score", "roc_auc", "average_precision")
    return {
        **{name: getattr(found, name) for name in metrics},
        **{f"macro {name}": getattr(found.macro, name) for name in ("precision", "recall", "f1")},
        **{f"weighted {name}": getattr(found.weighted, name) for name in ("precision", "f1")},
        **{f"class {name}": getattr(small, name) for name in ("precision", "recall", "f1", "roc_auc")},
        "expected_calibration_error": found.reliability.expected_calibration_error,
    }


def regressed(rng: np.random.Generator, rows: int) -> dict[str, Estimate]:
    """Metrics of a regression with errors that grow with the prediction."""
    prediction = 2.0 * rng.normal(size=rows)
    truth = prediction + rng.normal(size=rows) * (0.5 + np.abs(prediction) / 4)
    found = regression_section(truth, prediction, seed=int(rng.integers(2**32)))
    return {name: getattr(found, name) for name in ("mae", "rmse", "r2", "median_absolute_error", "mean_residual")}


@pytest.mark.e2e
@pytest.mark.parametrize("metrics_of", [classified, regressed], ids=["classification", "regression"])
def test_intervals_have_the_coverage_that_they_claim(
    metrics_of: Callable[[np.random.Generator, int], dict[str, Estimate]],
) -> None:
    rng = np.random.default_rng(0)
    true = metrics_of(rng, 1_000_000)

    inside = Counter(
        name for _ in range(REPEATS) for name, found in metrics_of(rng, 500).items() if contains(found, true[name])
    )

    coverage = {name: inside[name] / REPEATS for name in true}
    assert len(coverage) >= 5
    assert {name: share for name, share in coverage.items() if not 0.92 <= share <= 0.975} == {}


def contains(found: Estimate, true: Estimate) -> bool:
    assert found.low is not None
    assert found.high is not None
    assert true.value is not None
    return found.low <= true.value <= found.high


DRAWN = np.random.default_rng(0)
SAMPLES = [DRAWN.exponential(size=40), DRAWN.normal(size=300), DRAWN.lognormal(size=1_000)]


@pytest.mark.parametrize("values", SAMPLES, ids=len)
def test_bca_intervals_of_a_mean_are_those_of_scipy_but_for_the_noise_of_resampling(values: Any) -> None:
    draws = Bootstrap(len(values), resamples=20_000).sums([values])[:, 0] / len(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval

    found = bca(values.mean(), draws, values - values.mean(), rows=1e9)

    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.1 * draws.std())


def test_the_interval_of_few_rows_is_as_wide_as_one_of_student_s_t() -> None:
    values = np.random.default_rng(3).normal(size=12)
    draws = Bootstrap(12, resamples=20_000).sums([values])[:, 0] / 12
    theirs = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))

    found = bca(values.mean(), draws, values - values.mean(), rows=12)

    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(theirs[1] - theirs[0], rel=0.1)


def test_rows_in_random_groups_have_the_standard_error_of_single_rows() -> None:
    rows = 2 * MAX_UNITS + 1_000
    values = np.random.default_rng(4).exponential(size=rows)
    bootstrap = Bootstrap(rows)

    (found,) = bootstrap.means([values])

    assert found.low is not None
    assert found.high is not None
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(rows), rel=0.1)


@pytest.mark.parametrize("rows", [1, 2, 15, 40])
def test_medians_of_resamples_are_distributed_as_those_of_sorted_resamples(rows: int) -> None:
    rng = np.random.default_rng(rows)
    values = rng.permutation(np.arange(float(rows)))

    found = Bootstrap(rows, resamples=4_000).medians(values)

    sorted_ones = np.median(rng.choice(values, (4_000, rows)), axis=1)
    assert stats.ks_2samp(found, sorted_ones).statistic < 0.05


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (3, 10), (33, 33), (500, 1_000)])
def test_proportions_have_wilson_s_interval(hits: int, rows: int) -> None:
    theirs = stats.binomtest(hits, rows).proportion_ci(0.95, method="wilson")

    found = proportion(hits, rows)

    assert (found.value, found.low, found.high) == pytest.approx((hits / rows, *theirs), abs=1e-12)


def test_undefined_values_and_equal_draws_have_no_interval() -> None:
    nothing = Estimate(value=None, low=None, high=None)

    assert proportion(0, 0) == percentile(np.nan, np.ones(5)) == nothing
    assert percentile(1.0, np.ones(5)) == Estimate(value=1.0, low=None, high=None)
    assert percentile(1.0, np.array([np.nan, np.nan, np.nan, 1.0, 2.0])).low is None
    assert bca(1.0, np.ones(5), np.zeros(9), rows=9) == Estimate(value=1.0, low=None, high=None)
