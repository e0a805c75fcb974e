"""Data warnings of a job: target leakage, ID columns, rare classes, duplicate rows, by the stored profile alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.spec.resolved import SpecWarning
from service.spec.text import listed, some

if TYPE_CHECKING:
    from service.spec.split import Split
    from service.spec.table import Column, TableProfile

MIN_CLASS_ROWS = 10
"""With fewer rows a class can hardly be trained, and has one or two validation rows at most."""


def of_features(table: TableProfile, target: Column, features: list[str]) -> Iterator[SpecWarning]:
    """Features that leak the target, and features that look like IDs."""
    givers = [name for name in features if name in target.given_away_by]
    if givers:
        message = (
            f"possible target leakage: {_some(givers)} alone nearly determines {target.name!r}; leave out what is not"
            " known at prediction time"
        )
        yield SpecWarning(code="target_leakage", message=message, pointer="/data/features")
    columns = [table.column(name) for name in features]
    ids = [column.name for column in columns if column is not None and column.resembles_an_id(table.rows)]
    if ids:
        message = f"likely ID column{'s' * (len(ids) > 1)}: {some(ids)}, distinct in nearly every row; leave IDs out"
        yield SpecWarning(code="id_like_column", message=message, pointer="/data/features")


def of_classes(target: Column) -> Iterator[SpecWarning]:
    """Classes that few rows have, the rarest first, and classes that differ only in case or spaces."""
    few = sorted((value.count, str(value.value)[:60]) for value in target.values or [] if value.count < MIN_CLASS_ROWS)
    if few:
        shown = listed(f"{value!r} ({count})" for count, value in few)
        message = f"classes with fewer than {MIN_CLASS_ROWS} rows, too few to train and validate: {shown}"
        yield SpecWarning(code="rare_classes", message=message, pointer="/data/target")
    if similar := target.similar_values:
        message = (
            f"classes of {target.name!r} differ only in case or spaces ({some(similar)}): each is a class of its own;"
            " spell them alike in the file"
        )
        yield SpecWarning(code="similar_classes", message=message, pointer="/data/target")


def of_rows(table: TableProfile, split: Split) -> Iterator[SpecWarning]:
    """Duplicate rows that a split may put into different parts; a split by column keeps them together."""
    if table.duplicate_rows and not split.columns and (split.validates or split.test):
        message = (
            f"{table.duplicate_rows:,} of {table.rows:,} rows are duplicates of an earlier row: the same row may be in"
            " training and validation data, and scores look better than they are"
        )
        yield SpecWarning(code="rows_on_both_sides", message=message, pointer="/split")


def _some(names: list[str]) -> str:
    shown = some(names)
    return f"column {shown}" if len(names) == 1 else f"each of the columns {shown}"
