"""The profile of a table by SQL: what is missing, how many values differ, their range, mean and counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import frexp
from pathlib import Path

from duckdb import DuckDBPyConnection

from service.data.sql import aggregate
from service.data.staging import parquet_sql
from service.spec.table import MAX_VALUES, MIN_CATEGORY_ROWS, Column, ColumnType, ValueCount

MAX_LISTED_VALUES = 200_000
"""Values listed in all columns together, so that the profile of a wide table stays small."""
MAX_LISTED_CHARACTERS = 1_000
"""Columns with a longer text list no values: it is prose, not a class."""

BATCH_COLUMNS = 20
"""Columns measured in one query: each takes some 2 MB to count its distinct values, however few there are."""
BATCH_CELLS = 4_000_000
"""Values measured in one query."""

NOTHING = "max(NULL)"  # an aggregate, so that a query of these alone gives one row too
NUMERIC = (ColumnType.number, ColumnType.integer, ColumnType.boolean)


@dataclass(frozen=True)
class Slice:
    """Some columns of a table: the Parquet file `path` holds them as c0, c1, ... in the order of `names`."""

    path: Path
    names: tuple[str, ...]
    types: tuple[ColumnType, ...]


def profile(connection: DuckDBPyConnection, slices: Sequence[Slice], rows: int) -> list[Column]:
    """One Column for each column of the table, exact, in two passes over the rows.

    `slices` hold the columns of one table with `rows` rows. Memory is bounded: a batch of columns at a time, and
    DuckDB spills what it cannot hold.
    """
    measured = [column for part in slices for column in _measure(connection, part, rows)]
    listed = _listed(measured)
    topped = _topped(measured)
    columns: list[Column] = []
    for part in slices:
        start = len(columns)
        columns += _complete(connection, part, measured[start : start + len(part.names)], listed, topped, rows)
    return columns


def batches(columns: int, rows: int) -> Iterator[range]:
    """Column numbers in groups whose values are held in memory at once."""
    size = max(1, min(BATCH_COLUMNS, BATCH_CELLS // max(rows, 1)))
    return (range(start, min(start + size, columns)) for start in range(0, columns, size))


def _measure(connection: DuckDBPyConnection, part: Slice, rows: int) -> Iterator[Column]:
    """Each column without its mean, deviation and values."""
    for batch in batches(len(part.names), rows):
        expressions = [
            [f"count(c{i})", f"count(DISTINCT c{i})", *_range(f"c{i}", part.types[i] in NUMERIC)] for i in batch
        ]
        for i, (present, distinct, smallest, largest) in zip(
            batch, aggregate(connection, parquet_sql(part.path), expressions), strict=True
        ):
            yield Column(
                name=part.names[i],
                type=part.types[i],
                missing=rows - present,
                distinct=distinct,
                min=smallest,
                max=largest,
            )


def _range(column: str, numeric: bool) -> tuple[str, str]:
    return (f"min({column}::DOUBLE)", f"max({column}::DOUBLE)") if numeric else (NOTHING, NOTHING)


def _listed(columns: list[Column]) -> set[str]:
    """Names of the columns whose values are listed: texts, which stand for classes, then those with the fewest."""
    fit = [c for c in columns if c.type not in (ColumnType.number, ColumnType.datetime) and c.distinct <= MAX_VALUES]
    fit.sort(key=lambda column: (column.type is not ColumnType.text, column.distinct))
    totals = accumulate(column.distinct for column in fit)
    return {column.name for column, total in zip(fit, totals, strict=True) if total <= MAX_LISTED_VALUES}


def _topped(columns: list[Column]) -> set[str]:
    """Names of the columns whose most frequent values are listed: texts with too many to list all."""
    long = [c.name for c in columns if c.type is ColumnType.text and c.distinct > MAX_VALUES]
    return set(long[: MAX_LISTED_VALUES // MAX_VALUES])


def _complete(
    connection: DuckDBPyConnection, part: Slice, columns: list[Column], listed: set[str], topped: set[str], rows: int
) -> Iterator[Column]:
    """`columns` with mean, deviation and values."""
    for batch in batches(len(columns), rows):
        expressions = []
        for i in batch:
            column = columns[i]
            values = f"histogram(c{i})" if column.name in listed else NOTHING
            if column.type is ColumnType.text:
                values = f"CASE WHEN max(length(c{i})) <= {MAX_LISTED_CHARACTERS} THEN {values} END"
            expressions.append([*_moments(f"c{i}", column), values])
        for i, (mean, std, counts) in zip(
            batch, aggregate(connection, parquet_sql(part.path), expressions), strict=True
        ):
            scale = _scale(columns[i])
            yield columns[i].model_copy(
                update={
                    "mean": None if mean is None else mean * scale,
                    "std": None if std is None else std * scale,
                    "values": None
                    if counts is None
                    else [ValueCount(value=v, count=counts[v]) for v in sorted(counts)],
                    "top": _top(connection, part.path, i) if columns[i].name in topped else None,
                }
            )


def _top(connection: DuckDBPyConnection, path: Path, i: int) -> list[ValueCount] | None:
    """The most frequent texts of a column, None where one of its texts is too long."""
    source = f"FROM {parquet_sql(path)}"
    longest = connection.execute(f"{source} SELECT max(length(c{i}))").fetchall()[0][0]
    if longest > MAX_LISTED_CHARACTERS:
        return None
    # Ties in the order of the texts' characters, which DuckDB's own order of texts is.
    found = connection.execute(
        f"{source} SELECT c{i}, count(*) AS n WHERE c{i} IS NOT NULL GROUP BY c{i}"
        f" HAVING n >= {MIN_CATEGORY_ROWS} ORDER BY n DESC, c{i} LIMIT {MAX_VALUES}"
    ).fetchall()
    return [ValueCount(value=value, count=count) for value, count in found]


def _moments(name: str, column: Column) -> tuple[str, str]:
    if column.min is None:
        return NOTHING, NOTHING
    scaled = f"{name}::DOUBLE / {_scale(column)!r}::DOUBLE"
    return f"avg({scaled})", f"stddev_pop({scaled})"


def _scale(column: Column) -> float:
    """A power of two near the largest magnitude: sums of squares of what is left cannot overflow."""
    _, exponent = frexp(max(abs(column.min or 0.0), abs(column.max or 0.0)))
    return float(2.0 ** (exponent - 1))
