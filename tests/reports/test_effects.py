"""Effects of columns of functions that are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.reports.effects import column_effect
from service.reports.sections.effects import ColumnEffect

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, 4_000)
NOISY_COPY = X + 0.1 * RNG.standard_normal(4_000)


def shown(effect: ColumnEffect | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and effects of the first output."""
    assert effect is not None
    return (
        np.array([float(point.value) for point in effect.points]),
        np.array([point.effect[0] for point in effect.points]),
    )


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_the_effect_of_a_linear_column_is_its_line_around_its_mean(slope: float, other: float) -> None:
    """Whatever a column that tells the first one does: it does not move with it."""

    def linear(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = slope * columns.get("x", X) + other * NOISY_COPY
        return found

    values, effects = shown(column_effect(linear, "x", X))

    np.testing.assert_allclose(effects, slope * (values - X.mean()), atol=0.05 * abs(slope) + 1e-9)


def test_the_effect_of_a_product_of_independent_columns_is_flat() -> None:
    other = np.random.default_rng(1).permutation(np.linspace(-1, 1, 4_000))

    _, effects = shown(column_effect(lambda columns: columns.get("x", X) * other, "x", X))

    assert np.abs(effects).max() < 0.1


def test_the_effect_of_a_square_is_the_square_minus_its_mean() -> None:
    values, effects = shown(column_effect(lambda columns: columns.get("x", X) ** 2, "x", X))

    np.testing.assert_allclose(effects, values**2 - np.square(X).mean(), atol=0.1)


def test_probabilities_have_an_effect_each_and_effects_of_all_classes_sum_to_zero() -> None:
    def two(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        chance = 1 / (1 + np.exp(-columns.get("x", X)))
        return np.stack([1 - chance, chance], axis=1)

    effect = column_effect(two, "x", X)

    assert effect is not None
    assert effect.method == "ale"
    assert sum(point.rows for point in effect.points) == len(X)
    assert all(sum(point.effect) == pytest.approx(0, abs=1e-12) for point in effect.points)
    assert effect.points[-1].effect[1] > 0.3


def test_a_flag_has_two_points_and_missing_values_are_left_out() -> None:
    flag = np.array([0.0, 1.0, 1.0, np.nan] * 50)

    values, effects = shown(column_effect(lambda columns: 3 * np.nan_to_num(columns.get("f", flag)), "f", flag))

    assert values.tolist() == [0.0, 1.0]
    assert effects[1] - effects[0] == pytest.approx(3.0)


def test_a_text_has_the_mean_prediction_with_it_in_every_row() -> None:
    texts = np.array(["a", "b", "b", None, "b"] * 20, dtype=object)
    numbers = {"a": 1.0, "b": 5.0, None: 0.0}

    def predict(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        return np.array([numbers[value] for value in columns.get("t", texts)])

    effect = column_effect(predict, "t", texts)

    assert effect is not None
    assert [(point.value, point.rows) for point in effect.points] == [("b", 60), ("a", 20)]
    assert [point.effect[0] for point in effect.points] == pytest.approx([1.0, -3.0])  # around 4, the weighted mean


@pytest.mark.parametrize("values", [np.ones(9), np.full(9, np.nan), np.full(9, None), np.array(["a", None] * 4)])
def test_a_column_with_one_value_has_no_effect(values: NDArray[Any]) -> None:
    assert column_effect(lambda _: np.zeros(len(values)), "x", values) is None
