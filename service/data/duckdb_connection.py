"""Sandboxed DuckDB connections for untrusted files, and the translation of DuckDB's exceptions."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from service.data.sql import sql_text
from service.errors import InvalidData

SERVER_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOENT, errno.EACCES)


def sandbox(
    file: Path, work: Path | None = None, memory_bytes: int | None = None, *, metadata_cache: bool = False
) -> DuckDBPyConnection:
    """A single-threaded connection that may read `file`, read and write the folder `work`, and nothing else: no
    network, no extensions. Beyond `memory_bytes` it spills to `work`. `metadata_cache`: the metadata of a Parquet file
    that is read many times are parsed once.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "temp_directory": "" if work is None else str(work / "spill"),
    }
    if memory_bytes is not None:
        config["memory_limit"] = f"{memory_bytes}B"
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    if metadata_cache:
        connection.execute("SET parquet_metadata_cache = true")
        connection.execute("SET enable_external_file_cache = false")  # which would fill memory with the file
    connection.execute(f"SET allowed_paths = [{sql_text(str(file))}]")
    if work is not None:
        connection.execute(f"SET allowed_directories = [{sql_text(str(work))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise InvalidData, OSError (EFBIG if a file grew too large) or MemoryError in place of DuckDB's exceptions."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise MemoryError from None
    except duckdb.IOException as error:
        raise _io_error(str(error)) from error
    except duckdb.Error as error:
        raise _invalid(str(error)) from error


def _io_error(message: str) -> Exception:
    """DuckDB raises the same exception for full disks and for damaged files; the message tells them apart."""
    for number in (errno.EFBIG, *SERVER_ERRORS):
        if os.strerror(number) in message:
            return OSError(number, os.strerror(number))
    return _invalid(message)


def _invalid(message: str) -> InvalidData:
    first = re.sub(r"""\s*(['"])/.*?\1""", "", message.splitlines()[0])  # no server paths in messages to clients
    return InvalidData(f"the file cannot be read: {first[:200]}")
