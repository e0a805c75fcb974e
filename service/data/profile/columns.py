"""The profile of a table by SQL: what is missing, how many values differ, how they are spread, which are frequent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from service.data.profile.distribution import (
    ON_A_LINE,
    histogram_sql,
    moments_sql,
    on_a_line,
    quantiles_sql,
    scale_of,
    table_sql,
)
from service.data.profile.top_values import MAX_LISTED_CHARACTERS, choose_listed, choose_topped, frequent
from service.data.sql import aggregate
from service.data.staging import Slice, parquet_sql
from service.spec.table import HISTOGRAM_BINS, QUANTILES, Column, ColumnType, Quantiles, ValueCount

BATCH_COLUMNS = 20
"""Columns measured in one query: each takes some 2 MB to count its distinct values, however few there are."""
BATCH_CELLS = 4_000_000
"""Values measured in one query."""

NOTHING = "max(NULL)"  # an aggregate, so that a query of these alone gives one row too


@dataclass(frozen=True)
class _Measured:
    """A column as the first pass leaves it, and the ends of its line: numbers, or microseconds of times."""

    column: Column
    low: float | None
    high: float | None


def profile(connection: DuckDBPyConnection, slices: Sequence[Slice], rows: int) -> list[Column]:
    """One Column for each column of the table, in three passes over the rows and one for each column's frequent values.

    `slices` hold the columns of one table with `rows` rows. All is exact but the quantiles of many rows. Memory is
    bounded: a batch of columns at a time, and DuckDB spills what it cannot hold.
    """
    measured = [found for part in slices for found in _measure(connection, part, rows)]
    listed = choose_listed([found.column for found in measured])
    topped = choose_topped([found.column for found in measured])
    columns: list[Column] = []
    for part in slices:
        start = len(columns)
        columns += _complete(connection, part, measured[start : start + len(part.names)], listed, topped, rows)
    return columns


def batches(columns: int, rows: int) -> Iterator[range]:
    """Column numbers in groups whose values are held in memory at once."""
    size = max(1, min(BATCH_COLUMNS, BATCH_CELLS // max(rows, 1)))
    return (range(start, min(start + size, columns)) for start in range(0, columns, size))


def _measure(connection: DuckDBPyConnection, part: Slice, rows: int) -> Iterator[_Measured]:
    """Each column with its counts and its ends."""
    for batch in batches(len(part.names), rows):
        wanted = [[f"count(c{i})", f"count(DISTINCT c{i})", *_ends(f"c{i}", part.types[i])] for i in batch]
        answers = aggregate(connection, parquet_sql(part.path), wanted)
        for i, (present, distinct, low, high, earliest, latest) in zip(batch, answers, strict=True):
            times = part.types[i] is ColumnType.datetime
            column = Column(
                name=part.names[i],
                type=part.types[i],
                missing=rows - present,
                distinct=distinct,
                min=earliest if times else low,
                max=latest if times else high,
            )
            yield _Measured(column, low, high)


def _ends(column: str, kind: ColumnType) -> tuple[str, str, str, str]:
    """Least and largest value on the line; earliest and latest time as text."""
    if kind not in ON_A_LINE:
        return NOTHING, NOTHING, NOTHING, NOTHING
    line = on_a_line(column, kind)
    if kind is not ColumnType.datetime:
        return f"min({line})", f"max({line})", NOTHING, NOTHING
    finite = f"FILTER ({line} IS NOT NULL)"
    return (
        *(f"min({line})", f"max({line})"),
        *(f"(min({column}) {finite})::VARCHAR", f"(max({column}) {finite})::VARCHAR"),
    )


def _complete(
    connection: DuckDBPyConnection,
    part: Slice,
    measured: list[_Measured],
    listed: set[str],
    topped: set[str],
    rows: int,
) -> Iterator[Column]:
    """The columns with all that is known of them."""
    for batch in batches(len(measured), rows):
        # Apart: with a histogram and a deviation in one query DuckDB holds all values, 1.2 GB of 60 million rows.
        moments = aggregate(connection, parquet_sql(part.path), [_moments(f"c{i}", measured[i]) for i in batch])
        wanted = [
            (*_spread(f"c{i}", measured[i], listed, rows), _values(f"c{i}", measured[i].column, listed)) for i in batch
        ]
        spread = aggregate(connection, table_sql(part.path, rows), wanted)
        for i, (mean, std), (quantiles, bins, counts) in zip(batch, moments, spread, strict=True):
            column = measured[i].column
            scale = scale_of(measured[i].low or 0.0, measured[i].high or 0.0)
            update: dict[str, Any] = {
                "mean": None if mean is None else mean * scale,
                "std": None if std is None else std * scale,
                "quantiles": None if quantiles is None else Quantiles(**dict(zip(QUANTILES, quantiles, strict=True))),
                "histogram": None if bins is None else [bins.get(place, 0) for place in range(HISTOGRAM_BINS)],
                "values": None if counts is None else [ValueCount(value=v, count=counts[v]) for v in sorted(counts)],
                "top": frequent(connection, part.path, i, column, rows) if column.name in topped else None,
            }
            yield column.model_copy(update=update)


def _moments(name: str, found: _Measured) -> tuple[str, str]:
    """Mean and deviation, of a column that has them."""
    column, low, high = found.column, found.low, found.high
    if low is None or high is None or column.type is ColumnType.datetime:
        return NOTHING, NOTHING
    return moments_sql(on_a_line(name, column.type), scale_of(low, high))


def _spread(name: str, found: _Measured, listed: set[str], rows: int) -> tuple[str, str]:
    """Quantiles and histogram: as much as a column of this kind has."""
    column, low, high = found.column, found.low, found.high
    if low is None or high is None:
        return NOTHING, NOTHING
    line = on_a_line(name, column.type)
    ordered = column.type in (ColumnType.number, ColumnType.integer)
    return (
        quantiles_sql(line, rows) if ordered else NOTHING,
        histogram_sql(line, low, high) if low < high and column.name not in listed else NOTHING,
    )


def _values(name: str, column: Column, listed: set[str]) -> str:
    values = f"histogram({name})" if column.name in listed else NOTHING
    if column.type is ColumnType.text:
        return f"CASE WHEN max(length({name})) <= {MAX_LISTED_CHARACTERS} THEN {values} END"
    return values
