"""Intervals of the difference of the losses of two samples of rows hold the true difference as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.reports.loss_intervals import LossIntervals, difference_of_samples
from service.reports.rows import Truth
from service.reports.sections.estimate import Estimate
from tests.examples import ALL

REPEATS = 300 if ALL else 100
RMSE, LOG_LOSS = Truth(np.zeros(1)), Truth(np.zeros(1), 2)
RNG = np.random.default_rng(3)


def difference(truth: Truth, new: NDArray[np.float64], known: LossIntervals) -> Estimate:
    return difference_of_samples(LossIntervals(truth, new[:, None]), known)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("scale", [1.0, 1.5])
@pytest.mark.parametrize("regression", [False, True], ids=["mean", "rmse"])
def test_the_interval_of_a_difference_of_two_samples_covers_it(scale: float, regression: bool) -> None:
    rng = np.random.default_rng(0)
    truth = RMSE if regression else LOG_LOSS
    true = scale - 1.0
    covered = 0
    for _ in range(REPEATS):
        losses = [
            np.square(rng.normal(0, each, rows)) if regression else rng.exponential(each, rows)
            for each, rows in ((scale, 120), (1.0, 300))
        ]
        one, other = (LossIntervals(truth, each[:, None]) for each in losses)
        found = difference_of_samples(one, other)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= true <= found.high

    assert covered / REPEATS >= 0.91


def squared_errors(rows: int) -> NDArray[np.float64]:
    return np.square(RNG.standard_normal(rows))


def rare_large_losses(rows: int) -> NDArray[np.float64]:
    """Log losses where one of 50 rows is of a class with a predicted probability of 2%."""
    return np.where(RNG.random(rows) < 0.02, 3.9, 0.02 + 0.001 * RNG.random(rows))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 10, 30])
@pytest.mark.parametrize(("truth", "losses"), [(RMSE, squared_errors), (LOG_LOSS, rare_large_losses)])
def test_few_rows_of_the_same_kind_are_rarely_significantly_different(truth: Truth, losses, rows: int) -> None:  # type: ignore[no-untyped-def]
    known = LossIntervals(truth, losses(300)[:, None])
    found = [difference(truth, losses(rows), known) for _ in range(100)]

    significant = [each for each in found if each.low is not None and each.high is not None]
    assert sum(each.low > 0 or each.high < 0 for each in significant) <= 10  # type: ignore[operator]
    assert bool(significant) == (rows > 1)


@pytest.mark.parametrize("truth", [RMSE, LOG_LOSS])
def test_few_rows_that_are_predicted_much_worse_are_significantly_different(truth: Truth) -> None:
    known = LossIntervals(truth, squared_errors(300)[:, None])

    found = difference(truth, 100 * (1 + squared_errors(10)), known)

    assert found.low is not None
    assert found.low > 0


def test_equal_losses_and_losses_beyond_float64_have_no_interval() -> None:
    known = LossIntervals(RMSE, squared_errors(300)[:, None])

    same = difference(RMSE, np.full(5, 1e36), known)
    with np.errstate(all="ignore"):
        beyond = difference(RMSE, np.full(5, np.inf), known)

    assert same.value == pytest.approx(1e18)
    assert (same.low, same.high) == (None, None)
    assert beyond == Estimate(value=None, low=None, high=None)
