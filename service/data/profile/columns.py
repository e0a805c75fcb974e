"""Column profile by SQL: missing and distinct values, moments, quantiles, histogram, top values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from service.data.profile.distribution import (
    NUMERIC,
    as_number,
    histogram_sql,
    moments_sql,
    quantiles_sql,
    scale_of,
    table_sql,
)
from service.data.profile.top_values import MAX_LISTED_CHARACTERS, choose_listed, choose_topped, frequent
from service.data.sql import aggregate
from service.data.staging import Slice, parquet_sql
from service.spec.table import HISTOGRAM_BINS, QUANTILES, Column, ColumnType, Quantiles, ValueCount

BATCH_COLUMNS = 20
"""Columns per query: counting distinct values takes some 2 MB per column."""
BATCH_CELLS = 4_000_000
"""Values per query."""

NULL_AGGREGATE = "max(NULL)"  # an aggregate, so that a query of these alone gives one row too


@dataclass(frozen=True)
class _Measured:
    """A column after the first pass, with minimum and maximum as numbers (times: microseconds)."""

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
    """Each column with counts, minimum and maximum."""
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
    """SQL of minimum and maximum as numbers; of times also as text."""
    if kind not in NUMERIC:
        return NULL_AGGREGATE, NULL_AGGREGATE, NULL_AGGREGATE, NULL_AGGREGATE
    line = as_number(column, kind)
    if kind is not ColumnType.datetime:
        return f"min({line})", f"max({line})", NULL_AGGREGATE, NULL_AGGREGATE
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
    """The columns with the complete profile."""
    for batch in batches(len(measured), rows):
        # A query of its own: with a histogram in the same query DuckDB holds all values, 1.2 GB of 60 million rows.
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
    """SQL of mean and standard deviation, for columns that have them."""
    column, low, high = found.column, found.low, found.high
    if low is None or high is None or column.type is ColumnType.datetime:
        return NULL_AGGREGATE, NULL_AGGREGATE
    return moments_sql(as_number(name, column.type), scale_of(low, high))


def _spread(name: str, found: _Measured, listed: set[str], rows: int) -> tuple[str, str]:
    """SQL of quantiles and histogram, for columns that have them."""
    column, low, high = found.column, found.low, found.high
    if low is None or high is None:
        return NULL_AGGREGATE, NULL_AGGREGATE
    line = as_number(name, column.type)
    ordered = column.type in (ColumnType.number, ColumnType.integer)
    return (
        quantiles_sql(line, rows) if ordered else NULL_AGGREGATE,
        histogram_sql(line, low, high) if low < high and column.name not in listed else NULL_AGGREGATE,
    )


def _values(name: str, column: Column, listed: set[str]) -> str:
    values = f"histogram({name})" if column.name in listed else NULL_AGGREGATE
    if column.type is ColumnType.text:
        return f"CASE WHEN max(length({name})) <= {MAX_LISTED_CHARACTERS} THEN {values} END"
    return values
