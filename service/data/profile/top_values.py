"""Top values: which columns list all their values, and the most frequent values of the others."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from duckdb import DuckDBPyConnection

from service.data.staging import parquet_sql
from service.spec.table import MAX_VALUES, MIN_CATEGORY_ROWS, Column, ColumnType, ValueCount

MAX_LISTED_VALUES = 200_000
"""Values listed in all columns together: limits the profile of a wide table."""
MAX_LISTED_CHARACTERS = 1_000
"""Columns with a longer text list no values: free text is no class."""


def choose_listed(columns: list[Column]) -> set[str]:
    """Names of the columns whose values are all listed: text columns first, then those with the fewest values."""
    fit = [c for c in columns if c.type not in (ColumnType.number, ColumnType.datetime) and c.distinct <= MAX_VALUES]
    fit.sort(key=lambda column: (column.type is not ColumnType.text, column.distinct))
    totals = accumulate(column.distinct for column in fit)
    return {column.name for column, total in zip(fit, totals, strict=True) if total <= MAX_LISTED_VALUES}


def choose_topped(columns: list[Column]) -> set[str]:
    """Names of the columns with too many values to list, whose most frequent ones are listed: text columns first."""
    kinds = (ColumnType.text, ColumnType.integer)
    many = [c for kind in kinds for c in columns if c.type is kind and c.distinct > MAX_VALUES]
    return {column.name for column in many[: MAX_LISTED_VALUES // MAX_VALUES]}


def frequent(connection: DuckDBPyConnection, path: Path, i: int, column: Column, rows: int) -> list[ValueCount] | None:
    """The most frequent values of c{i}; None if one of its texts is too long."""
    source = f"FROM {parquet_sql(path)}"
    if column.type is ColumnType.text:
        longest = connection.execute(f"{source} SELECT max(length(c{i}))").fetchall()[0][0]
        if longest > MAX_LISTED_CHARACTERS:
            return None
    if rows - column.missing - column.distinct < MIN_CATEGORY_ROWS - 1:  # no value has that many rows
        return []
    # Ties are ordered by code points, DuckDB's order of text.
    found = connection.execute(
        f"{source} SELECT c{i}, count(*) AS n WHERE c{i} IS NOT NULL GROUP BY c{i}"
        f" HAVING n >= {MIN_CATEGORY_ROWS} ORDER BY n DESC, c{i} LIMIT {MAX_VALUES}"
    ).fetchall()
    return [ValueCount(value=value, count=count) for value, count in found]
