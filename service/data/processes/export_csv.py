"""Export of a stored table as CSV, in a child process, since the API does not import DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.errors import DatasetCorrupt, InvalidData


class _Request(BaseModel):
    """The request to the child."""

    parquet: Path
    csv: Path


class _Written(BaseModel):
    """The response of the child."""

    sha256: str


def export_csv(parquet: Path, csv: Path, allowed: Allowance) -> str:
    """Write a table to the new file `csv` and return its SHA-256: deterministic bytes, missing values empty, formulas
    in column names escaped.

    Blocks for `allowed.seconds` at most. Raises DatasetCorrupt when the table cannot be read, TooLarge when the CSV
    file needs far more than `allowed.unpacked_bytes`, StorageError when the disk fails.
    """
    request = _Request(parquet=parquet.absolute(), csv=csv.absolute())
    try:
        return _Written.model_validate(ask(__name__, request, allowed)).sha256
    except InvalidData as error:
        raise DatasetCorrupt(f"the data set cannot be written as CSV: {error.detail}") from error


def _export(asked: dict[str, Any], allowed: Allowance) -> _Written:
    """In the child: respond to the request."""
    import hashlib

    from service.data.csv_injection import escape_formula
    from service.data.duckdb_connection import sandbox, translated_errors
    from service.data.sql import sql_name

    request = _Request.model_validate(asked)
    with translated_errors():
        table = sandbox(request.parquet, request.csv.parent, allowed.memory_bytes).read_parquet(str(request.parquet))
        names = ((name, escape_formula(name)) for name in table.columns)
        named = table.project(", ".join(f"{sql_name(name)} AS {sql_name(shown)}" for name, shown in names))
        named.write_csv(str(request.csv), header=True)
    with request.csv.open("rb") as file:
        return _Written(sha256=hashlib.file_digest(file, "sha256").hexdigest())


if __name__ == "__main__":
    respond(_export, "service.data.duckdb_connection", "service.data.csv_injection")
