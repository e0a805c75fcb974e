"""What in a table would spoil a job that could run all the same, by the stored profile alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.spec.resolved import SpecWarning
from service.spec.text import listed, some

if TYPE_CHECKING:
    from service.spec.split import Split
    from service.spec.table import Column, TableProfile

MIN_CLASS_ROWS = 10
"""With fewer rows a class is hardly learnt, and at most one or two validate."""


def of_features(table: TableProfile, target: Column, features: list[str]) -> Iterator[SpecWarning]:
    """Columns learnt from that give the target away, and such as look like ids."""
    givers = [name for name in features if name in target.given_away_by]
    if givers:
        message = (
            f"{_some(givers)} alone nearly gives {target.name!r} away: leave out what is not known, or only follows"
            " from the target, when predictions are made"
        )
        yield SpecWarning(code="target_leakage", message=message, pointer="/data/features")
    columns = [table.column(name) for name in features]
    ids = [column.name for column in columns if column is not None and column.resembles_an_id(table.rows)]
    if ids:
        message = f"{_some(ids)} has a value of its own in nearly every row, as an id has: nothing is learnt from ids"
        yield SpecWarning(code="id_like_column", message=message, pointer="/data/features")


def of_classes(target: Column) -> Iterator[SpecWarning]:
    """Classes that few rows have, the rarest first, and classes that differ only in case or spaces."""
    few = sorted((value.count, str(value.value)[:60]) for value in target.values or [] if value.count < MIN_CLASS_ROWS)
    if few:
        shown = listed(f"{value!r} ({count})" for count, value in few)
        message = f"classes of fewer than {MIN_CLASS_ROWS} rows, too few to learn and to validate: {shown}"
        yield SpecWarning(code="rare_classes", message=message, pointer="/data/target")
    if similar := target.similar_values:
        message = (
            f"classes of {target.name!r} differ only in case or spaces ({some(similar)}): each is a class of its own;"
            " write them alike in the file"
        )
        yield SpecWarning(code="similar_classes", message=message, pointer="/data/target")


def of_rows(table: TableProfile, split: Split) -> Iterator[SpecWarning]:
    """Equal rows that a split may put on both sides; a column that decides holds the same in all of them."""
    if table.duplicate_rows and not split.columns and (split.validates or split.test):
        message = (
            f"{table.duplicate_rows:,} of {table.rows:,} rows equal an earlier one: what is trained on may also"
            " validate, and scores look better than they are"
        )
        yield SpecWarning(code="rows_on_both_sides", message=message, pointer="/split")


def _some(names: list[str]) -> str:
    shown = some(names)
    return f"column {shown}" if len(names) == 1 else f"each of the columns {shown}"
