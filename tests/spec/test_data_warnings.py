"""Warnings about what would spoil a job: said where there is reason to, and not where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from service.spec.resolved import SpecWarning
from service.spec.table import Column, ColumnType, TableProfile, ValueCount
from tests.spec.tables import TABLE, column, resolved, table


def warning(profile: TableProfile, target: str = "y", **fields: Any) -> SpecWarning:
    """The only one."""
    (found,) = resolved(profile, target, **fields).warnings
    return found


def classes(**counts: int) -> Column:
    values = [ValueCount(value=name, count=count) for name, count in counts.items()]
    return Column(name="y", type=ColumnType.text, missing=0, distinct=len(counts), values=values)


def twice(profile: TableProfile = TABLE) -> TableProfile:
    return profile.model_copy(update={"duplicate_rows": 7})


def test_a_feature_that_leaks_the_target_is_named() -> None:
    target = column("y", "boolean").model_copy(update={"given_away_by": ["b", "c", "no feature"]})

    found = warning(table(column("a"), column("b"), column("c"), target))

    assert (found.code, found.pointer) == ("target_leakage", "/data/features")
    assert found.message.startswith(
        "possible target leakage: each of the columns 'b', 'c' alone nearly determines 'y'; "
    )


def test_a_feature_that_leaks_another_column_leaks_no_target() -> None:
    given_away = column("a").model_copy(update={"given_away_by": ["b"]})

    assert resolved(table(given_away, column("b"), column("y", "boolean")), "y").warnings == ()


def test_likely_id_columns_are_named() -> None:
    found = warning(table(column("a"), column("id", "integer"), column("y", "boolean")))

    assert (found.code, found.pointer) == ("id_like_column", "/data/features")
    assert found.message.startswith("likely ID column: 'id', distinct in nearly every row")


def test_of_many_columns_the_first_are_named() -> None:
    ids = [column(f"id{i}", "integer") for i in range(8)]

    message = warning(table(*ids, column("y", "boolean"))).message

    assert message.startswith("likely ID columns: 'id0', 'id1', 'id2', 'id3', 'id4' and 3 more, distinct")


def test_rare_classes_are_named_the_rarest_first() -> None:
    found = warning(table(column("x"), classes(a=80, b=9, c=10, d=1)))

    assert (found.code, found.pointer) == ("rare_classes", "/data/target")
    assert found.message.endswith(": 'd' (1), 'b' (9)")


def test_a_number_to_predict_has_no_rare_classes() -> None:
    assert resolved(table(column("x"), column("y", "integer", distinct=50)), "y", task="regression").warnings == ()


@pytest.mark.parametrize("split", [{}, {"shuffle": False}, {"folds": 5}, {"validation": 0.0, "test": 0.2}])
def test_equal_rows_may_stand_on_both_sides_of_a_split_by_rows(split: dict[str, Any]) -> None:
    rule = None if split.get("validation") == 0 else {"patience": 5}

    found = [w for w in resolved(twice(), split=split, early_stopping=rule).warnings if w.pointer == "/split"]

    assert [w.code for w in found] == ["rows_on_both_sides"]
    assert found[0].message.startswith("7 of 100 rows are duplicates of an earlier row: ")


@pytest.mark.parametrize("split", [{"group": "island"}, {"order_by": "length"}, {"validation": 0.0}])
def test_equal_rows_that_no_split_parts_are_no_reason_to_warn(split: dict[str, Any]) -> None:
    rule = None if split.get("validation") == 0 else {"patience": 5}

    codes = {w.code for w in resolved(twice(), split=split, early_stopping=rule).warnings}

    assert "rows_on_both_sides" not in codes


@pytest.mark.parametrize("duplicates", [0, None])
def test_without_equal_rows_known_there_is_nothing_to_say(duplicates: int | None) -> None:
    assert resolved(TABLE.model_copy(update={"duplicate_rows": duplicates})).warnings == ()
