"""Joins the parts of a prediction into one CSV or Parquet file, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.spec.read_options import FileFormat


class _Request(BaseModel):
    """The request to the child."""

    parts: list[Path]
    names: list[str]
    format: FileFormat
    target: Path


def join_predictions(
    parts: Sequence[Path], names: Sequence[str], file_format: FileFormat, target: Path, allowed: Allowance
) -> None:
    """Write the rows of all `parts`, which `write_predictions` wrote, in their order and under these names to `target`.

    All files are in one folder. Of names that differ only in case, DuckDB ends the later ones in _1, _2, ... Blocks and
    raises as `ask` does.
    """
    asked = _Request(
        parts=[part.absolute() for part in parts], names=list(names), format=file_format, target=target.absolute()
    )
    ask(__name__, asked, allowed)


def _join(asked: dict[str, Any], allowed: Allowance) -> None:
    """In the child: respond to the request."""
    from service.data.duckdb_connection import sandbox, translated_errors
    from service.data.sql import sql_name, sql_text
    from service.data.staging import write_parquet

    request = _Request.model_validate(asked)
    files = ", ".join(sql_text(str(part)) for part in request.parts)
    columns = ", ".join(f"c{i} AS {sql_name(name)}" for i, name in enumerate(request.names))
    with translated_errors():
        connection = sandbox(request.target, request.target.parent, allowed.memory_bytes)
        rows = connection.sql(f"FROM read_parquet([{files}]) SELECT {columns}")
        if request.format is FileFormat.csv:
            rows.write_csv(str(request.target), header=True)
        else:
            write_parquet(rows, request.target, len(request.names))


if __name__ == "__main__":
    respond(_join, "service.data.duckdb_connection", "service.data.staging")
