"""What a person should know of a table's values before training on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.spec.table import Column
from service.spec.text import some

MAX_SIMILAR = 5
"""Columns that are named with their similar values."""


def table_warnings(columns: Sequence[Column], rows: int, duplicates: int) -> Iterator[str]:
    """Warnings about columns that teach nothing, columns like ids, and rows that stand there twice."""
    empty = [column.name for column in columns if column.distinct == 0]
    if empty:
        yield f"no values at all in {some(empty)}"
    constant = [column.name for column in columns if column.distinct == 1 and column.missing == 0 and rows > 1]
    if constant:
        yield f"the same value in every row in {some(constant)}"
    ids = [column.name for column in columns if column.resembles_an_id(rows)]
    if ids:
        yield f"nearly every row has a value of its own, as an id has, in {some(ids)}"
    similar = [(column.name, values) for column in columns if (values := column.similar_values)]
    for name, values in similar[:MAX_SIMILAR]:
        yield (
            f"values of column {name!r} differ only in case or spaces ({some(values)}): each counts as a"
            " category of its own; write them alike in the file"
        )
    if duplicates:
        what = "row equals" if duplicates == 1 else "rows equal"
        yield f"{duplicates:,} {what} an earlier row in every column"
