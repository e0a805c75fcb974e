"""Row counts of the parts of a split, from the profile; impossible splits are refused."""

from __future__ import annotations

from typing import Any

import pytest

from service.spec.early_stopping import Monitor
from service.spec.resolve import RowCounts, resolve
from service.spec.table import Column, ColumnType, TableProfile, ValueCount
from tests.spec.tables import ROWS, column, refused, resolved, spec, table


def parts(missing: int = 0, **counts: int) -> Column:
    values = [ValueCount(value=value, count=count) for value, count in counts.items()]
    return Column(name="part", type=ColumnType.text, missing=missing, distinct=len(counts), values=values)


def profile(*columns: Column, y_missing: int = 0) -> TableProfile:
    return table(column("x"), *columns, column("y", "boolean", missing=y_missing))


def split_by(columns: list[Column], **fields: Any) -> RowCounts:
    return resolved(profile(*columns), "y", split=fields).rows


def test_a_column_that_names_parts_gives_exactly_their_sizes() -> None:
    assert split_by([parts(train=70, validation=20, test=10)], column="part") == RowCounts(70, 20, 10, 0)
    assert split_by([parts(train=70, validation=30)], column="part") == RowCounts(70, 30, 0, 0)


def test_where_rows_have_no_target_the_sizes_of_named_parts_are_estimates_and_a_warning_says_so() -> None:
    result = resolved(profile(parts(train=70, validation=20, test=10), y_missing=10), "y", split={"column": "part"})

    assert result.rows == RowCounts(63, 18, 9, 10, exact=False)
    assert [(warning.code, warning.pointer) for warning in result.warnings[:2]] == [
        ("rows_dropped", "/data"),
        ("rows_estimated", "/split/column"),
    ]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (parts(train=70, val=20, Test=10), "must hold train, validation or test alone; it holds 'val', 'Test'"),
        (parts(missing=3, train=70, validation=27), "names no part for 3 rows"),
        (parts(train=70, test=30), "names no row 'validation'; early_stopping.monitor train_loss needs none"),
        (parts(validation=70, test=30), "names no row 'train'"),
        (parts(train=1, validation=99), "leave 1 for training"),
        (column("part", "integer", distinct=3), "must hold train, validation or test alone; it holds '0', '1', '2'"),
        (column("part", "number"), "it holds other values"),
        (column("part", "text", distinct=1_001), "it holds other values"),
    ],
)
def test_a_column_that_names_no_parts_is_refused_saying_what_it_holds(part: Column, message: str) -> None:
    pointer, said = refused(profile(part), "y", split={"column": "part"})

    assert pointer in ("/split/column", "/split")
    assert message in said


def test_a_column_without_validation_rows_will_do_when_none_are_needed() -> None:
    monitor = {"early_stopping": {"monitor": "train_loss"}}
    result = resolved(profile(parts(train=70, test=30)), "y", split={"column": "part"}, **monitor)

    assert result.rows == RowCounts(70, 0, 30, 0)


@pytest.mark.parametrize("field", ["column", "group", "order_by"])
def test_a_column_that_is_not_there_or_is_the_target_splits_nothing(field: str) -> None:
    assert refused(profile(), "y", split={field: "z"}) == (
        f"/split/{field}",
        "no column 'z'; there are: 'x', 'y'",
    )
    assert refused(profile(), "y", split={field: "y"})[0] == f"/split/{field}"


def test_time_order_has_exact_sizes() -> None:
    assert split_by([column("when", "datetime")], order_by="when", test=0.1) == RowCounts(70, 20, 10, 0)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (column("when", "text", distinct=5), "holds neither dates nor numbers (text)"),
        (column("when", "datetime", missing=3), "has no value in 3 rows"),
    ],
)
def test_rows_that_cannot_be_put_in_order_are_refused(when: Column, message: str) -> None:
    pointer, said = refused(profile(when), "y", split={"order_by": "when"})

    assert pointer == "/split/order_by"
    assert message in said


def test_whole_groups_are_estimates_and_a_warning_says_so() -> None:
    result = resolved(profile(column("site", "text", distinct=9)), "y", split={"group": "site"})

    assert result.rows == RowCounts(80, 20, 0, 0, exact=False)
    (warning,) = result.warnings
    assert (warning.code, warning.pointer) == ("rows_estimated", "/split/group")


@pytest.mark.parametrize(
    ("split", "least"), [({}, 2), ({"test": 0.2}, 3), ({"folds": 4}, 4), ({"folds": 4, "test": 0.2}, 5)]
)
def test_there_must_be_a_group_for_every_part(split: dict[str, Any], least: int) -> None:
    def sites(distinct: int, missing: int = 0) -> Column:
        return column("site", "text", distinct=distinct, missing=missing)

    split_by([sites(least)], group="site", **split)
    split_by([sites(least - 1, missing=2)], group="site", **split)
    assert refused(profile(sites(least - 1)), "y", split={"group": "site", **split}) == (
        "/split/group",
        f"column 'site' has {least - 1} groups; the split needs {least} or more",
    )


def test_a_fold_has_its_exact_rows_and_the_first_is_taken_by_default() -> None:
    assert split_by([], folds=7) == RowCounts(85, 15, 0, 0)
    assert split_by([], folds=7, fold=7, test=0.1) == RowCounts(78, 12, 10, 0)


def test_there_must_be_a_row_for_every_fold() -> None:
    few = TableProfile(rows=9, columns=[column("x"), column("y", "boolean")])

    assert refused(few, "y", split={"folds": 10}) == ("/split/folds", "9 rows cannot be split into 10 folds")


@pytest.mark.parametrize("split", [{"column": "part"}, {"folds": 3}, {}])
def test_without_early_stopping_the_validation_rows_still_choose_the_best_epoch(split: dict[str, Any]) -> None:
    table = profile(parts(train=70, validation=30))

    assert resolved(table, "y", split=split, early_stopping=None).monitor is Monitor.val_loss
    assert resolved(table, "y", split={"validation": 0}, early_stopping=None).monitor is Monitor.train_loss


@pytest.mark.parametrize(
    "split", [{"column": "part"}, {"group": "site"}, {"order_by": "x"}, {"folds": 3}, {"folds": 3, "fold": 2}]
)
def test_jobs_of_different_splits_are_never_one_array(split: dict[str, Any]) -> None:
    table = profile(parts(train=70, validation=30), column("site", "text", distinct=9))
    plain, other = (resolve(spec("y", ["x"], split=each), table) for each in ({"validation": 0.3}, split))

    assert plain.layers == other.layers
    assert plain.array_key != other.array_key
    assert resolve(spec("y", ["x"], split=split, seed=5), table).array_key == other.array_key


def test_rows_are_counted_whatever_is_resolved_again() -> None:
    result = resolved(profile(parts(train=70, validation=30)), "y", split={"column": "part"})

    again = resolved(profile(parts(train=70, validation=30)), "y", split=result.spec.split.model_dump())
    assert (again.rows, again.spec.split) == (result.rows, result.spec.split)
    assert result.rows.train + result.rows.validation == ROWS


def test_repeats_with_no_more_groups_than_folds_would_be_the_same_folds() -> None:
    groups = profile(column("user", "integer", distinct=6))

    pointer, said = refused(groups, "y", split={"group": "user", "folds": 6, "repeat": 2})

    assert pointer == "/split/repeat"
    assert said == "all repeats would have the same folds: each is one of the 6 groups of column 'user'"
    assert split_by([column("user", "integer", distinct=6)], group="user", folds=5, repeat=2).validation == 20


def test_a_share_of_the_training_rows_is_counted_and_a_warning_says_how_many_are_left_out() -> None:
    result = resolved(profile(), "y", split={"train_fraction": 0.1, "test": 0.2})

    assert result.rows == RowCounts(6, 20, 20, 0)
    (warning,) = [each for each in result.warnings if each.code == "training_rows_left_out"]
    assert warning.pointer == "/split/train_fraction"
    assert warning.message == "54 of 60 training rows are left out: 6 train, drawn at random"


@pytest.mark.parametrize("fields", [{"folds": 4}, {"column": "part"}, {"group": "site"}, {"order_by": "x"}])
def test_validation_and_test_rows_stay_the_same_whatever_share_of_the_training_rows_is_drawn(
    fields: dict[str, Any],
) -> None:
    table = profile(parts(train=70, validation=30), column("site", "text", distinct=9))
    every, half = (resolved(table, "y", split={**fields, "train_fraction": share}) for share in (1.0, 0.5))

    assert every.rows == resolved(table, "y", split=fields).rows
    assert half.rows.train == round(every.rows.train / 2)
    assert (half.rows.validation, half.rows.exact) == (every.rows.validation, every.rows.exact)
    assert (half.shape_key, half.array_key == every.array_key) == (every.shape_key, False)


def test_a_share_of_fewer_than_two_training_rows_is_refused() -> None:
    assert refused(profile(), "y", split={"train_fraction": 0.01}) == (
        "/split/train_fraction",
        "1 of 80 training rows would train; at least 2 are needed",
    )
