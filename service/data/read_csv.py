"""CSV -> Parquet and its profile, by DuckDB in a sandbox. Runs in the child process of `ingest.py` alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from duckdb import DuckDBPyConnection, DuckDBPyRelation

from service.data.dialect import MAX_LINE_BYTES, Dialect, detect
from service.data.encoding import as_utf8
from service.data.profile import Slice, aggregate, batches, profile
from service.data.sandbox import sandbox, sql_name, sql_text
from service.errors import InvalidData
from service.spec.table import Column, ColumnType

SLICE_COLUMNS = 1_000
ROW_GROUP_CELLS = 4_000_000
EXCERPT = 60


@dataclass(frozen=True)
class _Typed:
    """How one column is stored: `sql` makes its values of the text column; `lost` counts numbers that are none."""

    type: ColumnType
    sql: str
    lost: int = 0


def read_csv(
    source: Path, parquet: Path, null_values: Sequence[str], memory_bytes: int
) -> tuple[int, list[Column], list[str]]:
    """(rows, columns, warnings) of the CSV file `source`, written to `parquet` in the file's row order.

    Leaves other files beside `parquet`. The text is staged in slices of columns, so that a wide table needs no
    more memory than a narrow one. Raises InvalidData naming line, column and reason; only empty values
    past the last column are let pass.
    """
    work = parquet.parent
    text, warnings = as_utf8(source, work)
    dialect = detect(text, null_values)
    if not dialect.header:
        warnings.append("the first line holds values, not names: the columns are called column1, column2, ...")
    connection = sandbox(source, work, memory_bytes)
    scan = _scan(connection, text, dialect, null_values)
    slices: list[Slice] = []
    rows = 0
    for start in range(0, len(dialect.names), SLICE_COLUMNS):
        names = dialect.names[start : start + SLICE_COLUMNS]
        staged = work / "text.parquet"
        _write(scan.project(", ".join(f"c{start + i} AS c{i}" for i in range(len(names)))), staged, len(names))
        _refuse_rejects(connection, dialect)
        [(rows,)] = aggregate(connection, staged, [["count(*)"]])
        if not rows:
            raise InvalidData("the file has a line of column names but no rows")
        typed = [column for batch in batches(len(names), rows) for column in _infer(connection, staged, batch)]
        warnings += _lost(names, typed)
        stored = work / f"slice{len(slices)}.parquet"
        values = ", ".join(f"{column.sql} AS c{i}" for i, column in enumerate(typed))
        _write(connection.read_parquet(str(staged)).project(values), stored, len(names))
        slices.append(Slice(stored, names, tuple(column.type for column in typed)))
    _write(_side_by_side(connection, slices), parquet, len(dialect.names))
    return rows, profile(connection, slices, rows), warnings


def _scan(connection: DuckDBPyConnection, text: Path, dialect: Dialect, null_values: Sequence[str]) -> DuckDBPyRelation:
    """The file's values as text, in columns c0, c1, ...; broken lines go to the table reject_errors."""
    return connection.read_csv(
        str(text),
        auto_detect=False,
        delimiter=dialect.delimiter,
        quotechar='"',
        escapechar='"',
        header=dialect.header,
        skiprows=dialect.blank_lines,
        columns={f"c{i}": "VARCHAR" for i in range(len(dialect.names))},
        na_values=list(null_values),
        max_line_size=MAX_LINE_BYTES,
        store_rejects=True,
        rejects_limit=1,
    )


def _write(relation: DuckDBPyRelation, path: Path, columns: int) -> None:
    group = max(2_048, min(122_880, ROW_GROUP_CELLS // columns))
    relation.write_parquet(str(path), compression="zstd", row_group_size=group)


def _refuse_rejects(connection: DuckDBPyConnection, dialect: Dialect) -> None:
    found = connection.execute(
        "SELECT line, column_idx, error_type::VARCHAR, csv_line FROM reject_errors ORDER BY line, column_idx LIMIT 1"
    ).fetchone()
    if found is None:
        return
    line, column, kind, content = found
    content = content or ""
    excerpt = repr(content if len(content) <= EXCERPT else content[:EXCERPT] + "...")
    if kind in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
        values = len(next(csv.reader(StringIO(content), delimiter=dialect.delimiter), []))
        count = f"{values:,} value{'s' * (values != 1)}"
        detail = f"line {line} has {count} where {len(dialect.names):,} columns are named: {excerpt}"
    elif kind == "LINE SIZE OVER MAXIMUM":
        detail = f"line {line} is longer than {MAX_LINE_BYTES:,} bytes: {excerpt}"
    elif kind == "UNQUOTED VALUE":
        where = f", column {dialect.names[column - 1]!r}" if column and column <= len(dialect.names) else ""
        detail = f"line {line}{where}: a quote is never closed, or text follows a closing quote: {excerpt}"
    else:
        detail = f"line {line} cannot be read ({kind.lower()}): {excerpt}"
    raise InvalidData(detail)


def _infer(connection: DuckDBPyConnection, staged: Path, batch: range) -> Iterator[_Typed]:
    """How to store each text column of `batch`: as the narrowest type that all of its values have."""
    counts = aggregate(connection, staged, [[f"count(c{i})", f"count({_double(i)})"] for i in batch])
    numeric = [0 < present == numbers for present, numbers in counts]
    tests = [_number_tests(i) if n else _text_tests(i) for i, n in zip(batch, numeric, strict=True)]
    for i, is_number, results in zip(batch, numeric, aggregate(connection, staged, tests), strict=True):
        yield _number(i, *results) if is_number else _other(i, *results)


def _double(i: int) -> str:
    return f"TRY_CAST(c{i} AS DOUBLE)"


def _number_tests(i: int) -> tuple[str, str]:
    number = _double(i)
    whole = f"bool_and({number} = trunc({number}) AND abs({number}) < {2**53}) FILTER (isfinite({number}))"
    return f"count(*) FILTER (NOT isfinite({number}))", whole


def _text_tests(i: int) -> tuple[str, str, str]:
    def all_cast(to: str) -> str:
        return f"bool_and(TRY_CAST(c{i} AS {to}) IS NOT NULL) FILTER (c{i} IS NOT NULL)"

    return f"bool_and(lower(c{i}) IN ('true', 'false'))", all_cast("TIMESTAMP"), all_cast("TIME")


def _number(i: int, lost: int, whole: bool | None) -> _Typed:
    finite = f"CASE WHEN isfinite({_double(i)}) THEN {_double(i)} END"
    if whole:
        return _Typed(ColumnType.integer, f"({finite})::BIGINT", lost)
    return _Typed(ColumnType.number, finite, lost)


def _other(i: int, boolean: bool | None, timestamp: bool | None, time: bool | None) -> _Typed:
    if boolean:
        return _Typed(ColumnType.boolean, f"c{i}::BOOLEAN")
    if timestamp or time:
        return _Typed(ColumnType.datetime, f"c{i}::{'TIMESTAMP' if timestamp else 'TIME'}")
    return _Typed(ColumnType.text, f"c{i}")


def _lost(names: Sequence[str], typed: list[_Typed]) -> Iterator[str]:
    for name, column in zip(names, typed, strict=True):
        if column.lost:
            values = "value counts" if column.lost == 1 else "values count"
            yield f"column {name!r}: {column.lost:,} infinite or NaN {values} as missing"


def _side_by_side(connection: DuckDBPyConnection, slices: list[Slice]) -> DuckDBPyRelation:
    """The slices as one table under the columns' own names."""
    files = [f"read_parquet({sql_text(str(part.path))}) AS s{i}" for i, part in enumerate(slices)]
    columns = [f"s{i}.c{j} AS {sql_name(name)}" for i, part in enumerate(slices) for j, name in enumerate(part.names)]
    return connection.sql(f"FROM {' POSITIONAL JOIN '.join(files)} SELECT {', '.join(columns)}")
