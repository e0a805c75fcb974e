"""Warnings of the profile: empty and constant columns, likely IDs, look-alike values, duplicate rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.spec.table import Column
from service.spec.text import some

MAX_SIMILAR = 5
"""Columns that are named with their similar values."""


def table_warnings(columns: Sequence[Column], rows: int, duplicates: int) -> Iterator[str]:
    """Warnings about the values of a table with so many rows, of which `duplicates` equal an earlier one."""
    empty = [column.name for column in columns if column.distinct == 0]
    if empty:
        yield f"empty columns: {some(empty)}"
    constant = [column.name for column in columns if column.distinct == 1 and column.missing == 0 and rows > 1]
    if constant:
        yield f"constant columns: {some(constant)}"
    ids = [column.name for column in columns if column.resembles_an_id(rows)]
    if ids:
        yield f"likely ID columns, distinct in nearly every row: {some(ids)}"
    similar = [(column.name, values) for column in columns if (values := column.similar_values)]
    for name, values in similar[:MAX_SIMILAR]:
        yield (
            f"values of column {name!r} differ only in case or spaces ({some(values)}): each counts as a"
            " category of its own; spell them alike in the file"
        )
    if duplicates:
        what = "row is a duplicate" if duplicates == 1 else "rows are duplicates"
        yield f"{duplicates:,} {what} of an earlier row"
