"""Rows to predict from a file: columns matched by name, validated, and staged as features. Runs in a child process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from duckdb import DuckDBPyConnection

from service.data.duckdb_connection import translated_errors
from service.data.ingest.open_source import open_source
from service.data.ingest.types import BATCH_COLUMNS, Typed, ways_to_read, with_nulls
from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import Preprocessing
from service.data.sql import NUMBERS, TEXTS, aggregate
from service.data.staging import RawSlice, Reading, ReadLimits, write_parquet
from service.errors import InvalidData
from service.spec.read_options import Decimal, ReadOptions
from service.spec.table import ColumnType
from service.spec.text import some

NEEDED = {ColumnType.boolean: "true or false", ColumnType.text: "a text", ColumnType.datetime: "a date"}


@dataclass(frozen=True)
class _Column:
    """The column of a feature in the file: `raw` is the SQL of its values, NULL if missing."""

    number: int
    feature: FittedFeature
    raw: str
    kind: str


@dataclass(frozen=True)
class _Way:
    """A candidate reading of a column: `sql` gives the values for the feature, NULL for those that do not fit."""

    sql: str
    count_sql: str
    date_format: str | None = None


def read_rows(source: Path, folder: Path, options: ReadOptions, fitted: Preprocessing, limits: ReadLimits) -> int:
    """Stage the features of every row of the file `source` in `folder`, for `table_from_staged`; return the row count.

    Columns are matched by name, in any order; others are ignored. Null values and date format are those of the training
    data set first. Raises InvalidData naming an absent column, or line and column of the first value that does not fit,
    and all that `read_table` raises.
    """
    with translated_errors():
        return stage(source, folder, options, fitted, limits).rows


def stage(source: Path, folder: Path, options: ReadOptions, fitted: Preprocessing, limits: ReadLimits) -> Reading:
    """As `read_rows`, with DuckDB's own exceptions; returns how the file was read."""
    nulls = {text for feature in fitted.features for text in fitted.nulls_of(feature)}
    categories = {text for feature in fitted.features for text in feature.categories or ()}
    # A category of one column may be a null value in another: those are resolved per column.
    options = options.model_copy(update={"null": sorted(nulls - categories)})
    connection, reading, _ = open_source(source, folder, options, limits)
    _refuse_absent(reading, fitted)
    for place, part in enumerate(reading.slices):
        if columns := _columns(connection, part, reading, fitted):
            ways = _ways(connection, part, columns, reading, fitted, options.decimal)
            values = ", ".join(f"{way.sql} AS v{c.number}" for c, way in zip(columns, ways, strict=True))
            staged = ", ".join(f"{_staged(c)} AS c{c.number}" for c in columns)
            rows = connection.sql(f"FROM (FROM {part.sql} SELECT {values}) SELECT {staged}")
            write_parquet(rows, folder / f"rows{place}.parquet", len(columns))
    return reading


def _refuse_absent(reading: Reading, fitted: Preprocessing) -> None:
    names = {name for part in reading.slices for name in part.names}
    absent = [feature.column for feature in fitted.features if feature.column not in names]
    if absent == [fitted.target.column]:  # asked for as a label
        message = f"the file has no column {absent[0]!r}, the target, whose true values are compared with predictions"
        raise InvalidData(message)
    if absent:
        if len(absent) > 1:
            raise InvalidData(f"the file has no columns {some(absent)}, which the network needs")
        raise InvalidData(f"the file has no column {absent[0]!r}, which is a feature of the network")


def _columns(connection: DuckDBPyConnection, part: RawSlice, reading: Reading, fitted: Preprocessing) -> list[_Column]:
    kinds = [kind.id for kind in connection.sql(f"FROM {part.sql}").types]
    places = {name: place for place, name in enumerate(part.names)}
    gone = () if reading.typed else reading.null_values  # read as NULL already
    return [
        _Column(
            number,
            feature,
            with_nulls(f"c{place}", kinds[place], fitted.nulls_of(feature) - {*gone}),
            kinds[place],
        )
        for number, feature in enumerate(fitted.features)
        if (place := places.get(feature.column)) is not None
    ]


def _ways(
    connection: DuckDBPyConnection,
    part: RawSlice,
    columns: Sequence[_Column],
    reading: Reading,
    fitted: Preprocessing,
    decimal: Decimal | None,
) -> Iterator[_Way]:
    """The reading of each column that fits every value."""
    for start in range(0, len(columns), BATCH_COLUMNS):
        batch = columns[start : start + BATCH_COLUMNS]
        seen = aggregate(connection, part.sql, [(f"count({c.raw})", f"any_value({c.raw})::VARCHAR") for c in batch])
        ways = [
            _fitting(column, ways_to_read(column.raw, column.kind, first or "", reading, fitted.date_format, decimal))
            for column, (_, first) in zip(batch, seen, strict=True)
        ]
        counts = aggregate(connection, part.sql, [[way.count_sql for way in each] for each in ways])
        for column, each, (present, _), fits in zip(batch, ways, seen, counts, strict=True):
            fitting = [way for way, n in zip(each, fits, strict=True) if n == present] if present else [_way("NULL")]
            if not fitting:
                nearest = max(zip(each, fits, strict=True), key=lambda pair: pair[1], default=(None, 0))[0]
                _refuse(connection, part, column, nearest, reading)
            _refuse_ambiguous_dates(column, fitting, fitted)
            yield fitting[0]


def _fitting(column: _Column, ways: Sequence[Typed]) -> list[_Way]:
    """The candidates of the feature's own type; other types are never converted."""
    raw, text = column.raw, column.kind in TEXTS
    match column.feature.type:
        case ColumnType.text:
            return [_way(f"{raw}::VARCHAR")] if text else []
        case ColumnType.datetime:
            return [_way(_seconds(way, column.feature), way.date_format) for way in ways if way.type == "datetime"]
        case ColumnType.boolean if column.kind in NUMBERS:
            return [_way(f"CASE WHEN {raw} IN (0, 1) THEN {raw} END")]
        case ColumnType.boolean:
            return [_way(f"TRY_CAST({raw} AS BOOLEAN)")] if text or column.kind == "boolean" else []
        case _:
            numbers = [_Way(way.sql, way.count_sql) for way in ways if way.type is ColumnType.number]
            return [_way(raw)] if column.kind == "boolean" else numbers


def _way(sql: str, date_format: str | None = None) -> _Way:
    return _Way(sql, f"count({sql})", date_format)


def _seconds(way: Typed, feature: FittedFeature) -> str:
    """SQL of seconds since 1970. A time of day alone fits only if the feature was trained on such."""
    return f"epoch({way.sql})" if feature.clock else f"epoch(TRY_CAST({way.sql} AS TIMESTAMP))"


def _staged(column: _Column) -> str:
    """SQL of what is staged: texts, truncated beyond the longest category, or numbers, NaN if missing or not finite."""
    value = f"v{column.number}"
    if column.feature.categories is not None:
        longest = max(map(len, column.feature.categories), default=0)
        return f"left({value}, {longest + 1})"
    return f"CASE WHEN isfinite({value}::DOUBLE) THEN {value}::DOUBLE ELSE 'nan'::DOUBLE END"


def _refuse(
    connection: DuckDBPyConnection, part: RawSlice, column: _Column, way: _Way | None, reading: Reading
) -> NoReturn:
    """Raise InvalidData naming the first value that does not fit."""
    name, needed = column.feature.column, NEEDED.get(column.feature.type, "a number")
    if way is None:
        raise InvalidData(f"column {name!r} has the type {column.kind.upper()}, where {needed} is needed in each row")
    rows = connection.sql(
        f"FROM {part.sql} SELECT row_number() OVER () AS row, {column.raw} AS value, {way.sql} AS fit"
    )
    wrong = rows.filter("value IS NOT NULL AND fit IS NULL").order("row").limit(1)
    [(row, value)] = wrong.project("row, value::VARCHAR").fetchall()
    where = f"row {row:,}" if reading.line_of is None else f"line {reading.line_of(row)}"
    raise InvalidData(f"{where}, column {name!r}: {needed} is needed, not {value[:60]!r}")


def _refuse_ambiguous_dates(column: _Column, ways: Sequence[_Way], fitted: Preprocessing) -> None:
    """Raise InvalidData if day and month could be swapped, unless the data set's own format fits."""
    first = ways[0].date_format
    if first is None or first == fitted.date_format:
        return
    swapped = first.translate(str.maketrans("dm", "md"))
    if any(way.date_format == swapped for way in ways[1:]):
        raise InvalidData(
            f"column {column.feature.column!r}: ambiguous dates, {first} and {swapped} fit; write them as in the data"
            " set, or as 2024-05-01"
        )
