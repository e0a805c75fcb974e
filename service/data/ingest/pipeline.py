"""An uploaded file -> Parquet and its profile, whatever its format. Runs in the child process of `ingest.py` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from service.data.duckdb_connection import sandbox
from service.data.duckdb_errors import duckdb_faults
from service.data.formats.compression import Compression, unpack
from service.data.formats.csv import read_csv
from service.data.formats.encoding import as_utf8
from service.data.formats.images import read_images
from service.data.formats.jsonl import read_jsonl
from service.data.formats.numpy import read_npy, read_npz
from service.data.formats.parquet import read_parquet
from service.data.formats.sniff import binary_format, text_format
from service.data.ingest.stray_rows import total_row, without_empty_rows
from service.data.ingest.types import Typed, infer
from service.data.ingest.warnings import remarks
from service.data.profile.columns import profile
from service.data.profile.duplicates import duplicate_rows
from service.data.profile.leakage import find_giveaways
from service.data.profile.size_limit import bounded
from service.data.profile.warnings import findings
from service.data.sql import sql_name
from service.data.staging import Limits, Raw, Reading, Slice, parquet_sql, write_parquet
from service.errors import InvalidData
from service.spec.read_options import FileFormat, ReadAs, ReadOptions
from service.spec.table import Column

BINARY_READERS = {
    FileFormat.parquet: read_parquet,
    FileFormat.npz: read_npz,
    FileFormat.npy: read_npy,
    FileFormat.images: read_images,
}
TEXT_READERS = {FileFormat.csv: read_csv, FileFormat.jsonl: read_jsonl}


@dataclass(frozen=True)
class Found:
    """What a file holds."""

    rows: int
    columns: list[Column]
    duplicate_rows: int
    warnings: list[str]
    read_as: ReadAs
    null_values: list[str]


def read_table(source: Path, parquet: Path, options: ReadOptions, limits: Limits) -> Found:
    """Read the file `source` and write its table to `parquet`, in the file's row order.

    Leaves other files beside `parquet`. Raises InvalidData saying what to mend in the file, and where; TooLarge for
    what unpacks to more than `limits` allow.
    """
    with duckdb_faults():
        return _read_table(source, parquet, options, limits)


def _read_table(source: Path, parquet: Path, options: ReadOptions, limits: Limits) -> Found:
    work = parquet.parent
    connection, reading, compression = take_apart(source, work, options, limits)
    reading = without_empty_rows(connection, reading)
    typed = infer(connection, reading, options)
    slices = [
        _store(connection, raw, ways, work / f"slice{number}.parquet")
        for number, (raw, ways) in enumerate(zip(reading.slices, typed, strict=True))
    ]
    names = [name for part in slices for name in part.names]
    write_parquet(_side_by_side(connection, slices), parquet, len(names))
    ways = dict(zip(names, (way for ways in typed for way in ways), strict=True))
    columns = find_giveaways(connection, slices, profile(connection, slices, reading.rows), reading.rows)
    duplicates = duplicate_rows(connection, slices, columns, reading.rows, work)
    columns, cut = bounded(columns, limits.profile_bytes)
    named = columns[-1:] if reading.read_as.format is FileFormat.images else columns  # nobody knows pixels by name
    return Found(
        rows=reading.rows,
        columns=columns,
        duplicate_rows=duplicates,
        warnings=[
            *reading.warnings,
            *remarks(ways, options),
            *total_row(connection, reading),
            *findings(named, reading.rows, duplicates),
            *cut,
        ],
        read_as=_read_as(reading.read_as, ways).model_copy(update={"compression": compression}),
        null_values=sorted(set(reading.null_values)),
    )


def take_apart(
    source: Path, work: Path, options: ReadOptions, limits: Limits
) -> tuple[DuckDBPyConnection, Reading, Compression | None]:
    """(where its SQL can be run, the columns as the file has them, how it was packed); writes to the folder `work`.

    Raises what `read_table` does, and DuckDB's own errors.
    """
    inside, compression = unpack(source, work, limits.unpacked_bytes)
    connection = sandbox(inside, work, limits.memory_bytes)
    _check_date_format(connection, options)
    return connection, _read(connection, inside, work, options, limits), compression


def _check_date_format(connection: DuckDBPyConnection, options: ReadOptions) -> None:
    if options.date_format is None:
        return
    try:
        connection.execute("SELECT try_strptime('', ?)", [options.date_format]).fetchall()
    except duckdb.InvalidInputException as error:
        raise InvalidData(f"date_format {options.date_format!r} is none: {str(error).splitlines()[0]}") from None


def _read(connection: DuckDBPyConnection, inside: Path, work: Path, options: ReadOptions, limits: Limits) -> Reading:
    found = binary_format(inside, options.format)
    if found is not None:
        return BINARY_READERS[found](connection, inside, work, options, limits)
    text = as_utf8(inside, work, options.encoding)
    return TEXT_READERS[options.format or text_format(text.path)](connection, text, work, options)


def _store(connection: DuckDBPyConnection, raw: Raw, ways: Sequence[Typed], path: Path) -> Slice:
    values = ", ".join(f"{way.sql} AS c{i}" for i, way in enumerate(ways))
    write_parquet(connection.sql(f"FROM {raw.sql} SELECT {values}"), path, len(ways))
    return Slice(path, raw.names, tuple(way.type for way in ways))


def _side_by_side(connection: DuckDBPyConnection, slices: list[Slice]) -> DuckDBPyRelation:
    """The slices as one table under the columns' own names."""
    files = [f"{parquet_sql(part.path)} AS s{i}" for i, part in enumerate(slices)]
    columns = [f"s{i}.c{j} AS {sql_name(name)}" for i, part in enumerate(slices) for j, name in enumerate(part.names)]
    return connection.sql(f"FROM {' POSITIONAL JOIN '.join(files)} SELECT {', '.join(columns)}")


def _read_as(read_as: ReadAs, columns: dict[str, Typed]) -> ReadAs:
    """With what the columns told of the file."""
    if any(way.decimal == "," for way in columns.values()):
        read_as = read_as.model_copy(update={"decimal": ","})
    formats = [way.date_format for way in columns.values() if way.date_format]
    return read_as.model_copy(update={"date_format": max(formats, key=formats.count, default=None)})
