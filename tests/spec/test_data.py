"""The data of a spec: inline rows, synthetic rows, and named features."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import InvalidSpec
from service.spec.data import MAX_INLINE_VALUES, InlineData, SyntheticData
from service.spec.resolve import resolve
from service.spec.text import similar
from tests.spec.tables import TABLE, spec

X = [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("y", [["a", "b", None], [True, False, True], [1, 2.5, None], [0, 0, 1]])
def test_inline_targets_are_all_text_all_booleans_or_all_numbers(y: list[Any]) -> None:
    assert InlineData(x=X, y=y).y == y


@pytest.mark.parametrize("y", [["a", 1, 2], [True, 1, 0], [True, "a", None], [False, 0.5, 1]])
def test_inline_targets_of_several_kinds_are_refused(y: list[Any]) -> None:
    with pytest.raises(ValidationError, match="all text, all booleans or all numbers"):
        InlineData(x=X, y=y)


def test_inline_rows_have_one_width() -> None:
    with pytest.raises(ValidationError, match="row 2 has 2 values, row 0 has 1"):
        InlineData(x=[[1.0], [2.0], [3.0, 4.0]], y=[0, 1, 0])


def test_inline_rows_have_one_target_each() -> None:
    with pytest.raises(ValidationError, match="x has 3 rows, y has 4 values"):
        InlineData(x=X, y=[0, 1, 0, 1])


def test_inline_data_is_small() -> None:
    rows = MAX_INLINE_VALUES // 2
    InlineData(x=[[1.0, 2.0]] * rows, y=[0] * rows)
    with pytest.raises(ValidationError, match="upload a data set instead"):
        InlineData(x=[[1.0, 2.0]] * (rows + 1), y=[0] * (rows + 1))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([[1.0]] * 2, [0, 1]),
        ([[], [], []], [0, 1, 0]),
        ([["1"], [2.0], [3.0]], [0, 1, 0]),
        ([[True], [2.0], [3.0]], [0, 1, 0]),
        ([[float("nan")], [2.0], [3.0]], [0, 1, 0]),
        ([[10**400], [2.0], [3.0]], [0, 1, 0]),
        (X, [10**400, 1, 0]),
        (X, [float("inf"), 1.0, 0.0]),
        (X, ["nul\x00", "a", "b"]),
    ],
)
def test_inline_values_that_no_table_could_hold_are_refused(x: list[Any], y: list[Any]) -> None:
    with pytest.raises(ValidationError):
        InlineData(x=x, y=y)


def test_synthetic_defaults_are_the_reference_script() -> None:
    assert SyntheticData().model_dump() == {
        "kind": "synthetic", "rows": 1_000, "features": 20, "classes": 2, "signal": 0.0, "seed": 0,
    }  # fmt: skip


def test_synthetic_rows_must_cover_the_classes() -> None:
    SyntheticData(rows=5, classes=5)
    with pytest.raises(ValidationError, match="at least one row per class"):
        SyntheticData(rows=5, classes=6)


def test_synthetic_tables_are_bounded() -> None:
    SyntheticData(rows=5_000_000, features=10)
    with pytest.raises(ValidationError, match="at most 50,000,000"):
        SyntheticData(rows=5_000_000, features=11)


@pytest.mark.parametrize(
    ("features", "pointer", "message"),
    [
        (["length", "species"], "/data/features/1", "column 'species': it is the target"),
        (["length", "island", "length"], "/data/features/2", "column 'length': it is named twice"),
        (["lenght"], "/data/features/0", "no column 'lenght'; did you mean 'length'?"),
    ],
)
def test_a_wrong_feature_is_refused_at_its_place(features: list[str], pointer: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        resolve(spec(features=features), TABLE)

    assert [(fault.pointer, fault.message) for fault in error.value.field_errors] == [(pointer, message)]


def test_a_name_with_a_space_at_its_end_is_suggested() -> None:
    assert similar("y", ["a", "y ", "b"]) == "y "
    assert similar("bill length", ["bill_length", "bill_depth"]) == "bill_length"


def test_a_similar_name_is_suggested_for_the_first_unknown_feature_only() -> None:
    with pytest.raises(InvalidSpec) as error:
        resolve(spec(features=["species", "lenght", "iland"]), TABLE)

    assert [fault.message for fault in error.value.field_errors] == [
        "column 'species': it is the target",
        "no column 'lenght'; did you mean 'length'?",
        "no column 'iland'",
    ]
