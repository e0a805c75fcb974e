"""Permutation importance equals scikit-learn's, and groups find what columns alone hide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.inspection import permutation_importance as of_sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression

from service.reports.importance import permutation_importance, permutations
from service.reports.rows import Truth
from service.reports.sections.estimate import Estimate
from service.reports.sections.importance import Importance

REPEATS = 4


def orders_of_sklearn(rows: int, seed: int) -> NDArray[np.int64]:
    """The permutations that scikit-learn applies to every column, from the column's original values."""
    number = np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1)
    random, order, found = np.random.RandomState(number), np.arange(rows), []
    applied = np.arange(rows)
    for _ in range(REPEATS):
        random.shuffle(order)
        applied = applied[order]  # scikit-learn shuffles what it has shuffled before
        found.append(applied)
    return np.stack(found)


def columns_of(x: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {f"x{place}": column for place, column in enumerate(x.T)}


def values(found: Importance) -> list[float]:
    return [each.increase.value or 0.0 for each in found.columns]


def replaced(x: NDArray[np.float64], columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    return np.column_stack([columns.get(name, values) for name, values in columns_of(x).items()])


@pytest.mark.parametrize("classes", [2, 3])
def test_importance_by_log_loss_equals_that_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4))
    y = (np.digitize(x[:, 0] + 0.3 * x[:, 1] ** 2, [0.2, 0.9]) % classes).astype(np.int64)
    model = LogisticRegression(C=0.01).fit(x[:150], y[:150])
    x, y = x[150:], y[150:]
    expected = of_sklearn(model, x, y, scoring="neg_log_loss", n_repeats=REPEATS, random_state=7)

    found = permutation_importance(
        lambda columns: model.predict_proba(replaced(x, columns)),
        columns_of(x),
        [],
        Truth(y, classes),
        orders_of_sklearn(len(y), 7),
    )

    assert found.loss == "log_loss"
    by_name = {each.columns[0]: each for each in found.columns}
    for place in range(4):
        np.testing.assert_allclose(by_name[f"x{place}"].repeats, expected.importances[place], rtol=0, atol=1e-12)
        np.testing.assert_allclose(by_name[f"x{place}"].increase.value, expected.importances_mean[place], atol=1e-12)
    assert values(found) == sorted(values(found), reverse=True)


def test_importance_by_rmse_equals_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 3))
    y = 2 * x[:, 0] - x[:, 2] + rng.standard_normal(200)
    model = LinearRegression().fit(x, y)
    expected = of_sklearn(
        model, x, y, scoring="neg_root_mean_squared_error", n_repeats=REPEATS, random_state=3
    ).importances_mean

    found = permutation_importance(
        lambda columns: model.predict(replaced(x, columns)), columns_of(x), [], Truth(y), orders_of_sklearn(200, 3)
    )

    assert found.loss == "rmse"
    assert {each.columns[0]: each.increase.value for each in found.columns} == pytest.approx(
        {"x0": expected[0], "x1": expected[1], "x2": expected[2]}, abs=1e-12
    )
    first = found.columns[0].increase
    assert first.low is not None
    assert first.high is not None
    assert first.low < values(found)[0] < first.high


def test_a_column_that_the_model_ignores_has_no_importance_at_all() -> None:
    x = np.random.default_rng(2).standard_normal((100, 2))

    found = permutation_importance(
        lambda columns: columns.get("x0", x[:, 0]), columns_of(x), [], Truth(x[:, 0]), permutations(100, 3, seed=0)
    )

    ignored = found.columns[-1]
    assert (ignored.columns, ignored.increase) == (["x1"], Estimate(value=0.0, low=None, high=None))


def test_copies_of_a_column_matter_as_a_group_more_than_alone() -> None:
    rng = np.random.default_rng(3)
    x0 = rng.standard_normal(400)
    x = np.column_stack([x0, x0, rng.standard_normal(400)])

    def mean_of_copies(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        both: NDArray[np.float64] = (columns.get("x0", x0) + columns.get("x1", x0)) / 2
        return both

    found = permutation_importance(
        mean_of_copies, columns_of(x), [["x0", "x1"]], Truth(x0), permutations(400, 5, seed=0)
    )

    group, first, second, noise = found.columns
    assert group.columns == ["x0", "x1"]
    assert noise.columns == ["x2"]
    of_group, of_first, of_second, _ = values(found)
    assert of_group > 1.5 * of_first
    assert of_first == pytest.approx(of_second)
    assert len(first.columns) == len(second.columns) == 1


def test_the_interval_of_a_known_increase_covers_it_in_about_95_of_100_tables() -> None:
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, noise = rng.standard_normal((2, 300))
        truth = Truth(x + noise)
        orders = permutations(300, 10, seed=seed)
        each = permutation_importance(lambda columns, x=x: columns.get("x0", x), {"x0": x}, [], truth, orders).columns[
            0
        ]
        # Shuffled, the error is x' - x - noise: its variance is 2 + 1 in place of 1.
        low, high = each.increase.low, each.increase.high
        assert low is not None
        assert high is not None
        covered += low <= np.sqrt(3) - 1 <= high
    assert 0.9 <= covered / 200 <= 0.99
