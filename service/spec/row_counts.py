"""Row counts of training, validation and test, from the stored profile; checks that the split is possible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from service.errors import InvalidSpec
from service.spec.early_stopping import Monitor
from service.spec.resolved import RowCounts, SpecWarning
from service.spec.split import PARTS, drawn_rows, split_sizes
from service.spec.table import ColumnType
from service.spec.text import listed

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.spec.split import Split
    from service.spec.table import Column, TableProfile

_SAME_FOLDS = "all repeats would have the same folds"
ORDERED = (ColumnType.number, ColumnType.integer, ColumnType.datetime)


def count_rows(spec: JobSpec, table: TableProfile, target: Column) -> tuple[RowCounts, list[SpecWarning]]:
    """The row counts, `exact` if the profile determines them, and warnings.

    Raises InvalidSpec with a pointer to the field of `split` that is impossible.
    """
    split, usable = spec.split, table.rows - target.missing
    warnings = []
    if target.missing:
        message = f"{target.missing} rows without a value in {target.name!r} are left out"
        warnings.append(SpecWarning(code="rows_dropped", message=message, pointer="/data"))
    if split.column is not None:
        counts = _named_parts(split.column, table, target, needed=PARTS[: 1 + (spec.monitor is not Monitor.train_loss)])
    else:
        train, validation, test = split_sizes(usable, split)
        counts = RowCounts(train, validation, test, target.missing, exact=split.group is None)
        if split.folds is not None and usable - test < split.folds:
            raise InvalidSpec.at("/split/folds", f"{usable - test} rows cannot be split into {split.folds} folds")
        if (split.repeat or 1) > 1 and usable - test == split.folds:
            raise InvalidSpec.at("/split/repeat", f"{_SAME_FOLDS}: each is a single row")
    if split.order_by is not None:
        _check_order(split.order_by, table, target)
    if split.group is not None:
        _check_groups(split, split.group, table, target)
    if counts.train < 2:
        message = f"{usable} usable rows leave {max(counts.train, 0)} for training; at least 2 are needed"
        raise InvalidSpec.at("/split", message)
    counts, left_out = _drawn(split, counts)
    warnings += left_out
    if not counts.exact:
        why = "whole groups go to one part" if split.group else "rows without a target may be of any part"
        message = f"{why}: how many rows each part has is known when training starts, and estimated here"
        pointer = "/split/group" if split.group else "/split/column"
        warnings.append(SpecWarning(code="rows_estimated", message=message, pointer=pointer))
    return counts, warnings


def _drawn(split: Split, counts: RowCounts) -> tuple[RowCounts, list[SpecWarning]]:
    """The counts with the training rows that `train_fraction` draws, and a warning that the others are left out."""
    train = drawn_rows(counts.train, split)
    if train == counts.train:
        return counts, []
    pointer = "/split/train_fraction"
    if train < 2:
        raise InvalidSpec.at(pointer, f"{train} of {counts.train:,} training rows would train; at least 2 are needed")
    few = f"{counts.train - train:,} of {counts.train:,} training rows are left out: {train:,} train, drawn at random"
    return replace(counts, train=train), [SpecWarning(code="training_rows_left_out", message=few, pointer=pointer)]


def _column(table: TableProfile, name: str, target: Column, field: str) -> Column:
    column = table.column(name)
    if column is None:
        raise InvalidSpec.at(f"/split/{field}", table.no_column(name))
    if column.name == target.name:
        raise InvalidSpec.at(f"/split/{field}", f"column {name!r} is the target, which cannot also split the rows")
    return column


def _named_parts(name: str, table: TableProfile, target: Column, needed: tuple[str, ...]) -> RowCounts:
    column = _column(table, name, target, "column")
    counts = {value.value: value.count for value in column.values or ()}
    wrong = [repr(str(value))[:60] for value in counts if value not in PARTS]
    if column.type is not ColumnType.text or column.values is None or wrong:
        held = f"it holds {listed(wrong)}" if wrong else f"it holds other values ({column.type.value})"
        raise InvalidSpec.at("/split/column", f"column {name!r} must hold train, validation or test alone; {held}")
    if column.missing:
        raise InvalidSpec.at("/split/column", f"column {name!r} names no part for {column.missing:,} rows")
    for part in needed:
        if not counts.get(part):
            hint = "; early_stopping.monitor train_loss needs none" if part == "validation" else ""
            raise InvalidSpec.at("/split/column", f"column {name!r} names no row {part!r}{hint}")
    validation, test = (round(counts.get(part, 0) * (1 - target.missing / table.rows)) for part in PARTS[1:])
    train = table.rows - target.missing - validation - test
    return RowCounts(train, validation, test, target.missing, exact=not target.missing)


def _check_order(name: str, table: TableProfile, target: Column) -> None:
    column = _column(table, name, target, "order_by")
    if column.type not in ORDERED:
        message = f"column {name!r} holds neither dates nor numbers ({column.type.value}): rows cannot be put in order"
        raise InvalidSpec.at("/split/order_by", message)
    if column.missing:
        message = f"column {name!r} has no value in {column.missing:,} rows, which cannot be put in order"
        raise InvalidSpec.at("/split/order_by", message)


def _check_groups(split: Split, name: str, table: TableProfile, target: Column) -> None:
    column = _column(table, name, target, "group")
    groups = column.distinct + (column.missing > 0)
    parts = (split.folds or 1 + split.validates) + bool(split.test)
    if groups < parts:
        raise InvalidSpec.at("/split/group", f"column {name!r} has {groups} groups; the split needs {parts} or more")
    if (split.repeat or 1) > 1 and groups == parts:
        raise InvalidSpec.at("/split/repeat", f"{_SAME_FOLDS}: each is one of the {groups} groups of column {name!r}")
