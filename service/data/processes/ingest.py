"""An uploaded file -> Parquet and its profile, read in a child process with limits on memory and time."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.spec.base import Strict
from service.spec.read_options import ReadAs, ReadOptions
from service.spec.table import Column


class Ingested(Strict):
    """What reading a file gave."""

    rows: int
    """Number of rows."""
    columns: list[Column]
    """Schema and profile, a column each."""
    duplicate_rows: int
    """Rows that equal an earlier one in every column."""
    warnings: list[str]
    """What a person should know about how the file was read."""
    read_as: ReadAs
    """How the file was read."""
    null_values: list[str]
    """Texts that were read as a missing value."""
    parquet_sha256: str
    """SHA-256 of the Parquet file."""
    parquet_bytes: int
    """Size of the Parquet file in bytes."""


class _Request(BaseModel):
    """What the child is asked for."""

    source: Path
    parquet: Path
    options: ReadOptions


def ingest(source: Path, parquet: Path, options: ReadOptions, allowed: Allowance) -> Ingested:
    """Read the file `source`, of any format, and write its table to the new file `parquet`.

    Blocks and raises as `ask` does; `parquet` is not there then.
    """
    folder = parquet.parent.absolute() / f"ingest-{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        table = folder / "table.parquet"
        request = _Request(source=source.absolute(), parquet=table, options=options)
        ingested = Ingested.model_validate(ask(__name__, request, allowed))
        table.replace(parquet)
        return ingested
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(asked: dict[str, Any], allowed: Allowance) -> Ingested:
    """In the child: answer the request."""
    # Only here: the API imports this module, and must stay without duckdb.
    from service.data.ingest.pipeline import read_table
    from service.data.staging import Limits

    request = _Request.model_validate(asked)
    limits = Limits(allowed.memory_bytes, allowed.unpacked_bytes, allowed.profile_bytes)
    found = read_table(request.source, request.parquet, request.options, limits)
    with request.parquet.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Ingested(
        rows=found.rows,
        columns=found.columns,
        duplicate_rows=found.duplicate_rows,
        warnings=found.warnings,
        read_as=found.read_as,
        null_values=found.null_values,
        parquet_sha256=sha256,
        parquet_bytes=request.parquet.stat().st_size,
    )


if __name__ == "__main__":
    respond(_read, "service.data.ingest.pipeline")
