"""Losses of reports on regressions are those of scikit-learn and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_poisson_deviance, mean_squared_error

from service.reports.regression_losses import RegressionLoss

RNG = np.random.default_rng(0)
COUNTS, RATES = RNG.poisson(2.0, 200).astype(np.float64), RNG.exponential(2.0, 200)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (RegressionLoss("rmse"), mean_squared_error(COUNTS, RATES)),
        (RegressionLoss("mae"), mean_absolute_error(COUNTS, RATES)),
        (RegressionLoss("pinball", 0.9), mean_pinball_loss(COUNTS, RATES, alpha=0.9)),
        (RegressionLoss("poisson_deviance"), mean_poisson_deviance(COUNTS, RATES)),
        (
            RegressionLoss("huber", 0.7),
            float(torch.nn.HuberLoss(delta=0.7)(torch.tensor(RATES), torch.tensor(COUNTS))),
        ),
    ],
)
def test_the_mean_of_the_row_losses_is_the_metric(loss: RegressionLoss, expected: float) -> None:
    assert loss.of_rows(COUNTS, RATES).mean() == pytest.approx(expected)


def test_the_constant_is_what_the_loss_targets() -> None:
    truth = np.arange(11.0) ** 2

    assert RegressionLoss("mae").constant(truth) == 25
    assert RegressionLoss("pinball", 0.9).constant(truth) == 81
    assert RegressionLoss("rmse").constant(truth) == 35


def test_a_rate_of_zero_has_a_finite_deviance() -> None:
    assert np.isfinite(RegressionLoss("poisson_deviance").of_rows(np.array([0.0, 5.0]), np.zeros(2))).all()
