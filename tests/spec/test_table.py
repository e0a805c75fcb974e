"""Profiles of inline and synthetic data."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.spec.data import InlineData, SyntheticData
from service.spec.request_profiles import inline_profile, synthetic_profile
from service.spec.table import MIN_ID_ROWS, Column, ColumnType


def profile(y: list[Any], x: list[float | None] | None = None) -> tuple[Column, Column]:
    """The profiles of the first feature and of the target."""
    first, target = inline_profile(InlineData(x=[[v] for v in x or [0.0] * len(y)], y=y)).columns
    return first, target


@pytest.mark.parametrize(
    ("y", "kind", "values"),
    [
        (["b", "a", "b"], ColumnType.text, ["a", "b"]),
        ([True, False, None], ColumnType.boolean, [False, True]),
        ([3, 1, 3], ColumnType.integer, [1, 3]),
        ([3.0, 1.0, 1], ColumnType.integer, [1, 3]),
        ([0.5, 1.0, 2], ColumnType.number, None),
        ([2.0**60, 1.0, 2.0], ColumnType.number, None),
        ([-0.0, 0.0, 1.0], ColumnType.integer, [0, 1]),
    ],
)
def test_the_type_of_a_column_follows_from_its_values(y: list[Any], kind: ColumnType, values: list[Any]) -> None:
    _, target = profile(y)

    assert target.type is kind
    assert (target.values and [v.value for v in target.values]) == values
    assert {type(v.value) for v in target.values or []} <= {bool, int, str}


def test_missing_values_are_counted_and_no_value() -> None:
    first, target = profile(["a", None, "b", None], [None, 1.5, None, None])

    assert (first.missing, first.distinct, first.mean) == (3, 1, 1.5)
    assert (target.missing, target.distinct) == (2, 2)


def test_a_column_without_any_value_has_no_numbers() -> None:
    first, _ = profile([0, 1, 0], [None, None, None])

    assert (first.distinct, first.missing, first.min, first.mean, first.std) == (0, 3, None, None, None)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=30))
def test_numbers_are_summed_up_as_numpy_does(values: list[float]) -> None:
    first, _ = profile([0] * len(values), values)

    assert (first.min, first.max, first.distinct) == (min(values), max(values), len(set(values)))
    assert first.mean == pytest.approx(np.mean(values), abs=1e-6)
    assert first.std == pytest.approx(np.std(values), rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), min_size=3, max_size=8))
def test_no_finite_number_is_too_large_to_be_profiled(values: list[float | None]) -> None:
    first, target = profile(list(values), values)

    assert first.model_copy(update={"name": "y"}) == target


def test_synthetic_rows_have_the_columns_x0_and_so_on_and_classes_in_y() -> None:
    table = synthetic_profile(SyntheticData(rows=10, features=2, classes=3))

    assert [column.name for column in table.columns] == ["x0", "x1", "y"]
    assert [column.type for column in table.columns] == [ColumnType.number, ColumnType.number, ColumnType.integer]
    assert table.rows == 10


@given(st.integers(3, 500), st.integers(2, 20))
def test_synthetic_classes_are_counted_as_row_number_modulo_classes(rows: int, classes: int) -> None:
    data = SyntheticData(rows=max(rows, classes), classes=classes)
    target = synthetic_profile(data).column("y")

    assert target is not None
    counts = {v.value: v.count for v in target.values or []}
    assert counts == Counter(row % classes for row in range(data.rows))


ROW = st.tuples(st.sampled_from([None, 0.0, 1.5]), st.sampled_from([None, "a", "b"]))


@given(st.lists(ROW, min_size=3, max_size=20))
def test_equal_rows_of_a_request_are_counted_beyond_the_first(rows: list[tuple[float | None, str | None]]) -> None:
    table = inline_profile(InlineData(x=[[x] for x, _ in rows], y=[y for _, y in rows]))

    assert table.duplicate_rows == len(rows) - len(set(rows))


@pytest.mark.parametrize(
    ("kind", "distinct", "missing", "resembles"),
    [
        ("integer", 1_000, 0, True),
        ("text", 990, 0, True),
        ("text", 989, 0, False),
        ("integer", 100, 900, True),
        ("integer", MIN_ID_ROWS - 1, 1_000 - MIN_ID_ROWS + 1, False),
        ("number", 1_000, 0, False),
        ("datetime", 1_000, 0, False),
    ],
)
def test_an_integer_or_text_unique_in_nearly_every_row_resembles_an_id(
    kind: str, distinct: int, missing: int, resembles: bool
) -> None:
    column = Column(name="x", type=ColumnType(kind), missing=missing, distinct=distinct)

    assert column.resembles_an_id(1_000) is resembles
