"""Intervals of the difference of the losses of two samples of rows hold the true difference as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from service.reports.loss_intervals import LossIntervals, difference_of_samples
from service.reports.rows import Truth

REPEATS = 300


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1.5])
@pytest.mark.parametrize("regression", [False, True], ids=["mean", "rmse"])
def test_the_interval_of_a_difference_of_two_samples_covers_it(scale: float, regression: bool) -> None:
    rng = np.random.default_rng(0)
    truth = Truth(np.zeros(1), None if regression else 2)
    true = scale - 1.0
    covered = 0
    for _ in range(REPEATS):
        losses = [
            np.square(rng.normal(0, each, rows)) if regression else rng.exponential(each, rows)
            for each, rows in ((scale, 120), (1.0, 300))
        ]
        one, other = (LossIntervals(truth, each[:, None], seed) for seed, each in zip((1, 0), losses, strict=True))
        found = difference_of_samples(one, other)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= true <= found.high

    assert 0.91 <= covered / REPEATS <= 0.98
