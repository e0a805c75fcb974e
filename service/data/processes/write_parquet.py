"""Writes rows of the service (a history, sweep results) to a Parquet file, in a child process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from service.data.processes.runner import Allowance, ask, respond
from service.errors import InvalidData, Unavailable


class Kind(StrEnum):
    """Column types, by their DuckDB names."""

    whole = "BIGINT"
    number = "DOUBLE"
    flag = "BOOLEAN"
    text = "VARCHAR"


class _Request(BaseModel):
    """The request to the child."""

    lines: Path
    columns: dict[str, Kind]
    target: Path


def write_rows(
    columns: Mapping[str, Kind], pages: Iterable[Iterable[Sequence[Any]]], target: Path, allowed: Allowance
) -> None:
    """Write rows, a page at a time, to the new file `target`; None and what is not finite are missing values.

    They are staged as JSON Lines beside it, so that no process holds all of them. Of names that differ only in case,
    DuckDB ends the later ones in _1, _2, ... Blocks for `allowed.seconds` after the last page. Raises OSError or
    StorageError when the disk fails, TooLarge when the file needs far more than `allowed.unpacked_bytes`, Unavailable
    when the child does not get through.
    """
    lines, keys = target.with_suffix(".jsonl"), [f"c{i}" for i in range(len(columns))]
    with lines.open("wb") as file:
        for rows in pages:
            records = (dict(zip(keys, row, strict=True)) for row in rows)
            file.writelines(to_json(record, inf_nan_mode="null") + b"\n" for record in records)
    asked = _Request(lines=lines.absolute(), columns=dict(columns), target=target.absolute())
    try:
        ask(__name__, asked, allowed)
    except InvalidData as error:  # not a fault of the client: the rows are ours
        raise Unavailable(f"the table could not be written as Parquet: {error.detail}") from error


def _write(asked: dict[str, Any], allowed: Allowance) -> None:
    """In the child: respond to the request."""
    from service.data.duckdb_connection import sandbox, translated_errors
    from service.data.sql import sql_name
    from service.data.staging import write_parquet

    request = _Request.model_validate(asked)
    types = {f"c{i}": kind.value for i, kind in enumerate(request.columns.values())}
    names = ", ".join(f"c{i} AS {sql_name(name)}" for i, name in enumerate(request.columns))
    with translated_errors():
        connection = sandbox(request.lines, request.target.parent, allowed.memory_bytes)
        rows = connection.read_json(str(request.lines), columns=types, format="newline_delimited")
        write_parquet(rows.project(names), request.target, len(types))


if __name__ == "__main__":
    respond(_write, "service.data.duckdb_connection", "service.data.staging")
