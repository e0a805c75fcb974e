"""Parquet reader: flat columns, read by DuckDB in place."""

from __future__ import annotations

from pathlib import Path

from duckdb import DuckDBPyConnection

from service.data.column_names import check_names
from service.data.sql import PLAIN, aggregate, sql_name, sql_text
from service.data.staging import SLICE_COLUMNS, RawSlice, Reading, ReadLimits, parquet_sql
from service.errors import InvalidData
from service.spec.read_options import FileFormat, ReadAs, ReadOptions

MAX_CELLS = 2**31
"""Maximum number of values: a few bytes of Parquet can encode any number of equal ones."""


def read_parquet(
    connection: DuckDBPyConnection, source: Path, work: Path, options: ReadOptions, limits: ReadLimits
) -> Reading:
    """The columns of a Parquet file; nothing is staged.

    Raises InvalidData for a damaged file, and for columns of a nested or binary type.
    """
    table = connection.read_parquet(str(source))
    names = _names(connection, source)
    check_names(names, "the Parquet file")
    if len(names) != len(table.columns):
        raise InvalidData("the schema of the Parquet file is damaged")
    for name, kind in zip(names, table.types, strict=True):
        if kind.id not in PLAIN:
            kind_name = str(kind) if len(str(kind)) <= 60 else f"{str(kind)[:60]}..."
            raise InvalidData(f"column {name!r} has the type {kind_name}: only flat columns can be read; flatten it")
    [(rows,)] = aggregate(connection, f"parquet_file_metadata({sql_text(str(source))})", [["sum(num_rows)"]])
    if not rows:
        raise InvalidData("the Parquet file has no rows")
    if rows * len(names) > MAX_CELLS:
        raise InvalidData(f"{rows:,} rows of {len(names):,} columns are more than {MAX_CELLS:,} values, the limit here")
    slices = [
        RawSlice(
            f"(FROM {parquet_sql(source)} SELECT {', '.join(f'{sql_name(c)} AS c{i}' for i, c in enumerate(columns))})",
            tuple(names[start : start + SLICE_COLUMNS]),
        )
        for start in range(0, len(names), SLICE_COLUMNS)
        if (columns := table.columns[start : start + SLICE_COLUMNS])
    ]
    _refuse_nul(connection, slices)
    return Reading(tuple(slices), rows, ReadAs(format=FileFormat.parquet), tuple(options.null or ()))


def _names(connection: DuckDBPyConnection, source: Path) -> list[str]:
    """The column names in the schema; DuckDB would rename duplicates."""
    schema = connection.sql(f"FROM parquet_schema({sql_text(str(source))})").project("name, num_children").fetchall()
    names: list[str] = []
    inside = 0  # remaining schema elements of a nested column
    for name, children in schema[1:]:
        if not inside:
            names.append(str(name))
        inside = max(inside - 1, 0) + (children or 0)
    return names


def _refuse_nul(connection: DuckDBPyConnection, slices: list[RawSlice]) -> None:
    for part in slices:
        kinds = connection.sql(f"FROM {part.sql}").types
        texts = [i for i, kind in enumerate(kinds) if kind.id == "varchar"]
        found = aggregate(connection, part.sql, [(f"bool_or(contains(c{i}, chr(0)))",) for i in texts])
        for i, (has_nul,) in zip(texts, found, strict=True):
            if has_nul:
                raise InvalidData(f"column {part.names[i]!r} contains text with a NUL character")
