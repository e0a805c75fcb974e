"""CSV reader: splits the file into columns of text with DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path

from duckdb import DuckDBPyConnection, DuckDBPyRelation

from service.data.formats.csv_dialect import AskedDialect, Dialect, cut, detect
from service.data.formats.encoding import MAX_LINE_BYTES, Text
from service.data.sql import aggregate
from service.data.staging import SLICE_COLUMNS, RawSlice, Reading, parquet_sql, write_parquet
from service.errors import InvalidData
from service.spec.read_options import DEFAULT_NULL_VALUES, FileFormat, ReadAs, ReadOptions

EXCERPT = 60


def read_csv(connection: DuckDBPyConnection, text: Text, work: Path, options: ReadOptions) -> Reading:
    """The values of a CSV file, staged in the folder `work`.

    Raises InvalidData naming line, column and reason; only empty values past the last column are ignored.
    """
    null_values = tuple(DEFAULT_NULL_VALUES if options.null is None else options.null)
    asked = AskedDialect(options.delimiter, options.quote, options.header, options.decimal)
    dialect = detect(text.path, null_values, asked)
    warnings = [*text.warnings]
    warnings += _dialect_warnings(dialect, options)
    scan = _scan(connection, text.path, dialect, null_values)
    slices: list[RawSlice] = []
    for start in range(0, len(dialect.names), SLICE_COLUMNS):
        names = dialect.names[start : start + SLICE_COLUMNS]
        staged = work / f"csv{len(slices)}.parquet"
        write_parquet(scan.project(", ".join(f"c{start + i} AS c{i}" for i in range(len(names)))), staged, len(names))
        _refuse_rejects(connection, dialect)
        slices.append(RawSlice(parquet_sql(staged), names))
    [(rows,)] = aggregate(connection, slices[0].sql, [["count(*)"]])
    if not rows:
        raise InvalidData("the file has a line of column names but no rows")
    read_as = ReadAs(
        format=FileFormat.csv,
        encoding=text.encoding,
        delimiter=dialect.delimiter,
        quote=dialect.quote,
        header=dialect.header,
        decimal=options.decimal or ".",
        index_column=dialect.index_column,
        skipped_lines=dialect.skipped_lines if dialect.title or dialect.separator_line else None,
    )
    return Reading(
        tuple(slices),
        rows,
        read_as,
        null_values,
        typed=False,
        warnings=tuple(warnings),
        line_of=partial(_line_of, text.path, dialect),
    )


def _dialect_warnings(dialect: Dialect, options: ReadOptions) -> Iterator[str]:
    if dialect.title:
        last = dialect.skipped_lines
        lines = "line 1 is" if last == 1 else f"lines 1 to {last} are"
        yield (
            f"{lines} skipped as a title: the column names are in line {last + 1}; header=true keeps line 1 as header"
        )
    if dialect.index_column:
        yield (
            f"the first column has no name: it is read as {dialect.index_column!r}, and is no feature unless"
            " data.features names it (pandas: to_csv(index=False))"
        )
    if not dialect.header and options.header is None:
        yield "no header found in the first line: the columns are named column1, column2, ..."


def _line_of(text: Path, dialect: Dialect, row: int) -> int:
    """The line number at which a row begins: quoted values may span lines, and blank lines are no rows."""
    left, line = row + dialect.header, dialect.skipped_lines + 1
    with text.open(encoding="utf-8-sig", newline="") as file:
        for _ in range(dialect.skipped_lines):
            next(file)
        reader = cut(file, dialect.delimiter, dialect.quote, strict=False)
        for record in reader:
            left -= bool(record)
            if not left:
                break
            line = dialect.skipped_lines + reader.line_num + 1
    return line


def _scan(
    connection: DuckDBPyConnection, text: Path, dialect: Dialect, null_values: tuple[str, ...]
) -> DuckDBPyRelation:
    """The file's values as text in columns c0, c1, ...; malformed lines go to the table reject_errors."""
    return connection.read_csv(
        str(text),
        auto_detect=False,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.quote,
        header=dialect.header,
        skiprows=dialect.skipped_lines,
        columns={f"c{i}": "VARCHAR" for i in range(len(dialect.names))},
        na_values=list(null_values),
        max_line_size=MAX_LINE_BYTES,
        store_rejects=True,
        rejects_limit=1,
    )


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
        values = len(next(cut(StringIO(content), dialect.delimiter, dialect.quote, strict=False), []))
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
