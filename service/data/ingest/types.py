"""Type inference: each column gets the narrowest type that fits all of its values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from duckdb import DuckDBPyConnection

from service.data.number_formats import NUMBER_LIKE, consistent_sql, formatted_sql, unambiguous_sql
from service.data.sql import NUMBERS, STAMPS, TEXTS, aggregate, sql_text
from service.data.staging import RawSlice, Reading
from service.spec.read_options import Decimal, ReadOptions
from service.spec.table import ColumnType

BATCH_COLUMNS = 20
"""Columns per query: 200 took five times as long, and 700 MB more."""
LONGEST_STAMP = 40
DATES = (
    *("%d.%m.%y", "%m/%d/%y", "%d/%m/%y"),
    *("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d"),
    *("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
)
"""Date formats besides ISO 8601. Of two that fit equally many columns, the first is chosen."""
TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True)
class Typed:
    """A candidate type of a column: `sql` gives its values, and NULL for those that do not fit."""

    type: ColumnType
    sql: str
    lost: int = 0  # number of infinite or NaN values
    decimal: Decimal | None = None
    date_format: str | None = None
    date_or: str | None = None  # with day and month swapped, which fits every value and every column too
    condition: str | None = None  # SQL aggregate that must hold for the column as a whole
    formatted: bool = False  # numbers with thousands separators, currency, % or parentheses
    number_like: bool = False  # text that a person may mean as numbers

    @property
    def count_sql(self) -> str:
        """SQL aggregate: how many values are of the type; -1 where the condition does not hold."""
        count = f"count({self.sql})"
        return count if self.condition is None else f"CASE WHEN {self.condition} THEN {count} ELSE -1 END"


@dataclass
class _Column:
    """A column whose type is being inferred."""

    raw: str  # SQL of its values in the file
    kind: str  # DuckDB type name
    fits: list[Typed] = field(default_factory=list)


def infer(connection: DuckDBPyConnection, reading: Reading, options: ReadOptions) -> list[list[Typed]]:
    """The type of each column of each slice."""
    ways = [_slice(connection, raw, reading, options) for raw in reading.slices]
    popular = Counter(way.date_format for columns in ways for fits in columns for way in fits)
    return [[_best(fits, popular) for fits in columns] for columns in ways]


def _best(fits: list[Typed], popular: Counter[str | None]) -> Typed:
    """The first that fits; among date formats, the one that fits the most columns of the file."""
    if fits[0].date_format is None:
        return fits[0]
    dates = [way for way in fits if way.date_format]
    best = max(dates, key=lambda way: popular[way.date_format])
    swapped = (best.date_format or "").translate(str.maketrans("dm", "md"))
    ambiguous = any(way.date_format == swapped for way in dates) and popular[swapped] == popular[best.date_format]
    return replace(best, date_or=swapped if ambiguous else None)


def _slice(connection: DuckDBPyConnection, raw: RawSlice, reading: Reading, options: ReadOptions) -> list[list[Typed]]:
    kinds = [kind.id for kind in connection.sql(f"FROM {raw.sql}").types]
    nulls = reading.null_values if reading.typed else ()
    columns = [_Column(with_nulls(f"c{i}", kind, nulls), kind) for i, kind in enumerate(kinds)]
    for start in range(0, len(columns), BATCH_COLUMNS):
        batch = columns[start : start + BATCH_COLUMNS]
        texts = [column for column in batch if column.kind in TEXTS]
        for column in batch:
            column.fits = [] if column in texts else [_as_declared(column)]
        _try_on_texts(connection, raw.sql, texts, reading, options)
        _finish_numbers(connection, raw.sql, batch)
    return [column.fits for column in columns]


def with_nulls(sql: str, kind: str, null_values: Iterable[str]) -> str:
    """`sql` with NULL for null values, texts or numbers."""
    if kind in NUMBERS:
        numbers = [f"{number!r}::DOUBLE" for value in null_values if (number := _number(value)) is not None]
        return f"CASE WHEN {sql}::DOUBLE NOT IN ({', '.join(numbers)}) THEN {sql} END" if numbers else sql
    if kind == "varchar" and null_values:
        return f"CASE WHEN {sql} NOT IN ({', '.join(map(sql_text, null_values))}) THEN {sql} END"
    return sql


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def ways_to_read(
    raw: str, kind: str, first: str, reading: Reading, date_format: str | None, decimal: Decimal | None
) -> list[Typed]:
    """Every candidate type of a column to predict from, the likeliest first.

    `raw` is the SQL of its values, `kind` their type, `first` one of them; `date_format` is tried before ISO 8601 and
    the usual formats; `decimal` is the decimal sign that the client names.
    """
    column = _Column(raw, kind)
    if kind not in TEXTS:
        return [_as_declared(column)]
    given = [_date(column, date_format)] if date_format else []
    options = ReadOptions(decimal=decimal)
    found = [*given, *_likely(column, reading, options), *_rest(column, first, reading, options)]
    if not reading.typed and decimal != ",":
        found.append(_formatted(column, None if decimal == "." else unambiguous_sql(raw)))
    return found if any(way.type is ColumnType.datetime for way in found) else [*found, _iso(column)]


def _as_declared(column: _Column) -> Typed:
    """The type of a column that is typed in the file itself."""
    if column.kind == "boolean":
        return Typed(ColumnType.boolean, column.raw)
    if column.kind == "timestamp with time zone":  # a plain cast would depend on the time zone of the server
        return Typed(ColumnType.datetime, f"make_timestamp(epoch_us({column.raw}))")
    if column.kind in STAMPS:
        return Typed(ColumnType.datetime, f"{column.raw}::TIMESTAMP")
    if column.kind == "time":
        return Typed(ColumnType.datetime, column.raw)
    if column.kind == "null":
        return Typed(ColumnType.text, f"{column.raw}::VARCHAR")
    return Typed(ColumnType.number, f"{column.raw}::DOUBLE")


def _try_on_texts(
    connection: DuckDBPyConnection, rows: str, texts: list[_Column], reading: Reading, options: ReadOptions
) -> None:
    """Set the candidate types that fit all values of each text column: numbers first, then the rest, then text."""
    if not texts:
        return
    likely = [_likely(column, reading, options) for column in texts]
    counts = aggregate(
        connection,
        rows,
        [
            (f"count({c.raw})", f"any_value({c.raw})::VARCHAR", *(way.count_sql for way in ways))
            for c, ways in zip(texts, likely, strict=True)
        ],
    )
    for column, ways, (present, _, *numbers) in zip(texts, likely, counts, strict=True):
        column.fits = [way for way, fit in zip(ways, numbers, strict=True) if 0 < fit == present]
    left = [(c, n, first) for c, (n, first, *_) in zip(texts, counts, strict=True) if n and not c.fits]
    rest = [
        [*_rest(column, first, reading, options), *_numbers_as_text(column, first, reading, options)]
        for column, _, first in left
    ]
    counts = aggregate(connection, rows, [[way.count_sql for way in ways] for ways in rest])
    for (column, present, _), ways, fit in zip(left, rest, counts, strict=True):
        column.fits = [way for way, n in zip(ways, fit, strict=True) if n == present]
    for column in texts:
        column.fits = column.fits or [Typed(ColumnType.text, f"{column.raw}::VARCHAR")]


def _likely(column: _Column, reading: Reading, options: ReadOptions) -> list[Typed]:
    """Candidates for every text column."""
    ways = [_date(column, options.date_format)] if options.date_format else []
    if not reading.typed:
        ways.append(_decimal(column, options.decimal or "."))
    return ways


def _rest(column: _Column, first: str, reading: Reading, options: ReadOptions) -> Iterator[Typed]:
    """Further candidates, where the first value fits."""
    if not reading.typed:
        if (
            options.decimal is None
            and reading.read_as.delimiter != ","
            and _number(first.replace(",", ".")) is not None
        ):
            yield _decimal(column, ",")
        if first.lower() in ("true", "false"):
            yield Typed(ColumnType.boolean, f"TRY_CAST({column.raw} AS BOOLEAN)")
    if not reading.labels and len(first) <= LONGEST_STAMP and any(map(str.isdigit, first)):
        yield _iso(column)
        yield Typed(ColumnType.datetime, f"TRY_CAST({column.raw} AS TIME)")
        if options.date_format is None:
            yield from (_date(column, way) for way in DATES if _is_date(first, way))


def _numbers_as_text(column: _Column, first: str, reading: Reading, options: ReadOptions) -> Iterator[Typed]:
    """Formatted numbers; else text that looks like numbers but is ambiguous."""
    if reading.typed or reading.labels or not re.fullmatch(NUMBER_LIKE, first):
        return
    if options.decimal != ",":
        units = consistent_sql(column.raw)
        yield _formatted(column, units if options.decimal else f"{units} AND {unambiguous_sql(column.raw)}")
    like = f"CASE WHEN regexp_full_match({column.raw}, '{NUMBER_LIKE}') THEN {column.raw} END"
    yield Typed(ColumnType.text, like, number_like=True)


def _formatted(column: _Column, condition: str | None) -> Typed:
    return Typed(ColumnType.number, formatted_sql(column.raw), condition=condition, formatted=True)


def _decimal(column: _Column, sign: Decimal) -> Typed:
    text = column.raw
    if sign == ",":
        text = f"CASE WHEN NOT contains({text}, '.') THEN replace({text}, ',', '.') END"
    return Typed(ColumnType.number, f"TRY_CAST({text} AS DOUBLE)", decimal=sign)


def _iso(column: _Column) -> Typed:
    # A plain cast would drop the offset of a time; sessions are in UTC, so one without an offset stays as it is.
    return Typed(ColumnType.datetime, f"make_timestamp(epoch_us(TRY_CAST({column.raw} AS TIMESTAMPTZ)))")


def _date(column: _Column, way: str) -> Typed:
    formats = ", ".join(sql_text(way + time) for time in TIMES)
    return Typed(ColumnType.datetime, f"try_strptime({column.raw}, [{formats}])", date_format=way)


def _is_date(text: str, way: str) -> bool:
    for time in TIMES:
        try:
            datetime.strptime(text, way + time)  # noqa: DTZ007
        except ValueError:
            continue
        return True
    return False


def _finish_numbers(connection: DuckDBPyConnection, rows: str, batch: list[_Column]) -> None:
    """Distinguish integers from numbers, and count infinite and NaN values."""
    numbers = [column for column in batch if column.fits[0].type is ColumnType.number]
    cast = ", ".join(f"{column.fits[0].sql} AS n{i}" for i, column in enumerate(numbers))
    tests = [_number_tests(f"n{i}") for i in range(len(numbers))]
    results: list[tuple[Any, ...]] = aggregate(connection, f"(FROM {rows} SELECT {cast})", tests)
    for column, (lost, whole) in zip(numbers, results, strict=True):
        way = column.fits[0]
        finite = f"CASE WHEN isfinite({way.sql}) THEN {way.sql} END" if lost else way.sql
        kind, sql = (ColumnType.integer, f"({finite})::BIGINT") if whole else (ColumnType.number, finite)
        column.fits = [replace(way, type=kind, sql=sql, lost=lost)]


def _number_tests(number: str) -> tuple[str, str]:
    whole = f"bool_and({number} = trunc({number}) AND abs({number}) < {2**53}) FILTER (isfinite({number}))"
    return f"count(*) FILTER (NOT isfinite({number}))", whole
