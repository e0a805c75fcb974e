"""Parameters as columns: numbers on their scale, choices numbered, others left out with a reason."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.search.parameter_columns import MAX_CHOICES, columns_of, scaled


def column(values: list[Any], space: dict[str, Any] | None = None) -> tuple[str, list[float]]:
    (found,), left_out = columns_of([{"x": value} for value in values], ["x"], {"x": space} if space else {})
    assert left_out == {}
    return found.scale, found.values


def test_numbers_are_between_their_bounds() -> None:
    assert column([2, 1, 3.0]) == ("linear", [0.5, 0.0, 1.0])


def test_numbers_that_span_two_orders_of_magnitude_are_compared_by_logarithms() -> None:
    scale, values = column([0.001, 0.01, 0.1])

    assert scale == "log"
    assert all(math.isclose(found, expected) for found, expected in zip(values, [0.0, 0.5, 1.0], strict=True))


def test_a_logarithmic_range_of_the_space_is_compared_by_logarithms() -> None:
    assert column([1.0, 2.0], {"log": [1, 2]})[0] == "log"
    assert column([1, 2], {"log_int": [1, 2]})[0] == "log"
    assert column([1.0, 2.0], {"uniform": [1, 2]})[0] == "linear"


def test_numbers_with_zero_or_negative_ones_have_a_linear_scale() -> None:
    assert column([0, 1e-3, 1.0])[0] == "linear"
    assert column([-1.0, 1000.0])[0] == "linear"


def test_lists_texts_booleans_and_null_are_choices() -> None:
    assert column([[64], [64, 32], [64]]) == ("choice", [0.0, 1.0, 0.0])
    assert column([True, False]) == ("choice", [0.0, 1.0])
    assert column([None, 10, 20]) == ("choice", [0.0, 1.0, 2.0])


def test_what_cannot_be_compared_is_left_out_with_the_reason() -> None:
    points = [{"same": 1, "some": 0.5, "many": [index]} for index in range(MAX_CHOICES + 1)]
    del points[3]["some"]

    columns, left_out = columns_of(points, ["same", "some", "many"], {})

    assert columns == []
    assert left_out == {
        "same": "has the same value in all points",
        "some": "only 50 of 51 points use it",
        "many": "has 51 different values that are not numbers; at most 50",
    }


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_scaled_values_are_from_0_to_1_in_the_same_order(values: list[float]) -> None:
    found = scaled(values)

    assert all(0.0 <= each <= 1.0 for each in found)
    assert all(found[a] <= found[b] for a in range(len(values)) for b in range(len(values)) if values[a] <= values[b])
