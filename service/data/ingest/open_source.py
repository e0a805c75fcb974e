"""Opens a file of any format: decompressed, its format detected, its columns staged. Runs in a child process."""

from __future__ import annotations

from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from service.data.duckdb_connection import sandbox
from service.data.formats.compression import Compression, decompress
from service.data.formats.csv import read_csv
from service.data.formats.encoding import to_utf8
from service.data.formats.images import read_images
from service.data.formats.jsonl import read_jsonl
from service.data.formats.numpy import read_npy, read_npz
from service.data.formats.parquet import read_parquet
from service.data.formats.sniff import binary_format, text_format
from service.data.staging import Reading, ReadLimits
from service.errors import InvalidData
from service.spec.read_options import FileFormat, ReadOptions

BINARY_READERS = {
    FileFormat.parquet: read_parquet,
    FileFormat.npz: read_npz,
    FileFormat.npy: read_npy,
    FileFormat.images: read_images,
}
TEXT_READERS = {FileFormat.csv: read_csv, FileFormat.jsonl: read_jsonl}


def open_source(
    source: Path, work: Path, options: ReadOptions, limits: ReadLimits
) -> tuple[DuckDBPyConnection, Reading, Compression | None]:
    """(DuckDB connection, the staged columns, the compression); writes to the folder `work`.

    Raises InvalidData, TooLarge, and DuckDB's own errors.
    """
    inside, compression = decompress(source, work, limits.unpacked_bytes)
    connection = sandbox(inside, work, limits.memory_bytes)
    _check_date_format(connection, options)
    return connection, _read(connection, inside, work, options, limits), compression


def _check_date_format(connection: DuckDBPyConnection, options: ReadOptions) -> None:
    if options.date_format is None:
        return
    try:
        connection.execute("SELECT try_strptime('', ?)", [options.date_format]).fetchall()
    except duckdb.InvalidInputException as error:
        raise InvalidData(f"date_format {options.date_format!r} is invalid: {str(error).splitlines()[0]}") from None


def _read(
    connection: DuckDBPyConnection, inside: Path, work: Path, options: ReadOptions, limits: ReadLimits
) -> Reading:
    found = binary_format(inside, options.format)
    if found is not None:
        return BINARY_READERS[found](connection, inside, work, options, limits)
    text = to_utf8(inside, work, options.encoding)
    return TEXT_READERS[options.format or text_format(text.path)](connection, text, work, options)
