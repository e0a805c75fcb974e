"""Predictions of members that cover different rows, averaged row by row, and their metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from service.ensembling import metrics
from service.ensembling.held_out import HeldOut, WeightedMean
from service.errors import Conflict

ALONE = np.ones(200, np.int64)  # each row is predicted by one member


@given(seed=st.integers(0, 10_000), members=st.integers(1, 5))
def test_each_row_is_averaged_over_the_members_that_predict_it(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 20)
    mean, by_row = WeightedMean(3, np.int64), dict[int, list[tuple[float, np.ndarray]]]()
    for _ in range(members):
        rows = rng.permutation(20)[: rng.integers(1, 20)]
        values, weight = rng.dirichlet(np.ones(3), len(rows)).astype(np.float32), float(rng.uniform(0.1, 3.0))
        mean.add(rows, truth[rows], values, weight)
        for row, value in zip(rows.tolist(), values, strict=True):
            by_row.setdefault(row, []).append((weight, value))

    for least in (1, members):
        found = mean.rows_of(least)
        assert found.row.tolist() == sorted(row for row, of_row in by_row.items() if len(of_row) >= least)
        assert found.truth.tolist() == truth[found.row].tolist()
        assert found.members.tolist() == [len(by_row[row]) for row in found.row.tolist()]
        for row, value in zip(found.row.tolist(), found.values, strict=True):
            weights, values = zip(*by_row[row], strict=True)
            assert value == pytest.approx(np.average(np.stack(values), axis=0, weights=weights), rel=1e-6)


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, shares = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)

    found = metrics.classification(HeldOut(np.arange(200), truth, shares, ALONE))

    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, shares.argmax(1)), abs=1e-12)
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(truth, shares), abs=1e-9)


def test_metrics_of_numbers_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    values = truth + rng.normal(size=200)

    found = metrics.regression(HeldOut(np.arange(200), truth, values[:, None], ALONE))

    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(truth, values), abs=1e-12)
    assert found["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(truth, values), abs=1e-12)
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(truth, values), abs=1e-12)


def test_an_undefined_metric_is_none() -> None:
    found = metrics.regression(HeldOut(np.arange(2), np.ones(2), np.array([[1.0], [np.nan]]), ALONE[:2]))

    assert found == {"mae": None, "rmse": None, "r2": None}


def test_members_with_other_true_values_for_the_same_row_were_trained_on_other_data() -> None:
    mean = WeightedMean(1, np.float64)
    mean.add(np.array([3, 5]), np.array([1.0, 2.0]), np.zeros((2, 1)))

    with pytest.raises(Conflict, match="they were trained on different data"):
        mean.add(np.array([5, 7]), np.array([2.5, 3.0]), np.zeros((2, 1)))
