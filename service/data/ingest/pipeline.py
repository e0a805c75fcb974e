"""The ingestion pipeline: files of any format -> a Parquet file and its profile. Runs in a child process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from duckdb import DuckDBPyConnection, DuckDBPyRelation

from service.data.duckdb_connection import translated_errors
from service.data.ingest.several_files import open_files
from service.data.ingest.stray_rows import total_row, without_empty_rows
from service.data.ingest.types import Typed, infer
from service.data.ingest.warnings import type_warnings
from service.data.profile.columns import profile
from service.data.profile.duplicates import duplicate_rows
from service.data.profile.leakage import add_leakage
from service.data.profile.size_limit import bounded
from service.data.profile.warnings import table_warnings
from service.data.sql import sql_name
from service.data.staging import RawSlice, ReadLimits, Slice, parquet_sql, write_parquet
from service.spec.read_options import FileFormat, ReadAs, ReadOptions
from service.spec.table import Ingested


def read_table(
    sources: Sequence[Path], names: Sequence[str], parquet: Path, options: ReadOptions, limits: ReadLimits
) -> Ingested:
    """Read the files `sources`, called `names`, and write their table to `parquet`, in the order of files and rows.

    Leaves temporary files beside `parquet`. Raises InvalidData saying what to fix in the file, and where; TooLarge if
    it decompresses to more than `limits` allow.
    """
    with translated_errors():
        return _read_table(sources, names, parquet, options, limits)


def _read_table(
    sources: Sequence[Path], files: Sequence[str], parquet: Path, options: ReadOptions, limits: ReadLimits
) -> Ingested:
    work = parquet.parent
    connection, reading, compression = open_files(sources, files, work, options, limits)
    reading = without_empty_rows(connection, reading)
    typed = infer(connection, reading, options)
    slices = [
        _store(connection, raw, ways, work / f"slice{number}.parquet")
        for number, (raw, ways) in enumerate(zip(reading.slices, typed, strict=True))
    ]
    names = [name for part in slices for name in part.names]
    write_parquet(_side_by_side(connection, slices), parquet, len(names))
    ways = dict(zip(names, (way for ways in typed for way in ways), strict=True))
    columns = add_leakage(connection, slices, profile(connection, slices, reading.rows), reading.rows)
    duplicates = duplicate_rows(connection, slices, columns, reading.rows, work)
    columns, cut = bounded(columns, limits.profile_bytes)
    named = (
        columns[-1:] if reading.read_as.format is FileFormat.images else columns
    )  # warnings about single pixels help nobody
    return Ingested(
        rows=reading.rows,
        columns=columns,
        duplicate_rows=duplicates,
        warnings=[
            *reading.warnings,
            *type_warnings(ways, options),
            *total_row(connection, reading),
            *table_warnings(named, reading.rows, duplicates),
            *cut,
        ],
        read_as=_read_as(reading.read_as, ways).model_copy(update={"compression": compression}),
        null_values=sorted(set(reading.null_values)),
        parquet_sha256=_sha256(parquet),
        parquet_bytes=parquet.stat().st_size,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store(connection: DuckDBPyConnection, raw: RawSlice, ways: Sequence[Typed], path: Path) -> Slice:
    values = ", ".join(f"{way.sql} AS c{i}" for i, way in enumerate(ways))
    write_parquet(connection.sql(f"FROM {raw.sql} SELECT {values}"), path, len(ways))
    return Slice(path, raw.names, tuple(way.type for way in ways))


def _side_by_side(connection: DuckDBPyConnection, slices: list[Slice]) -> DuckDBPyRelation:
    """The slices joined to one table with the columns' own names."""
    files = [f"{parquet_sql(part.path)} AS s{i}" for i, part in enumerate(slices)]
    columns = [f"s{i}.c{j} AS {sql_name(name)}" for i, part in enumerate(slices) for j, name in enumerate(part.names)]
    return connection.sql(f"FROM {' POSITIONAL JOIN '.join(files)} SELECT {', '.join(columns)}")


def _read_as(read_as: ReadAs, columns: dict[str, Typed]) -> ReadAs:
    """`read_as` with the decimal sign and the date format of most columns."""
    if any(way.decimal == "," for way in columns.values()):
        read_as = read_as.model_copy(update={"decimal": ","})
    formats = [way.date_format for way in columns.values() if way.date_format]
    return read_as.model_copy(update={"date_format": max(formats, key=formats.count, default=None)})
