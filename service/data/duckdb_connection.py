"""A DuckDB that reaches only the files it was given: uploads are strangers' data."""

from __future__ import annotations

from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from service.data.sql import sql_text


def sandbox(file: Path, work: Path | None = None, memory_bytes: int | None = None) -> DuckDBPyConnection:
    """A connection on one thread that may read `file`, may use the folder `work`, and nothing else: no network, no
    extensions. What it cannot hold in `memory_bytes` it spills to `work`.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "temp_directory": "" if work is None else str(work / "spill"),
    }
    if memory_bytes is not None:
        config["memory_limit"] = f"{memory_bytes}B"
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{sql_text(str(file))}]")
    if work is not None:
        connection.execute(f"SET allowed_directories = [{sql_text(str(work))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
