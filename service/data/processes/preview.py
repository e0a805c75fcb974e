"""Preview: the first rows of a stored table, limited in cells and bytes, read in a child process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.errors import DatasetCorrupt, InvalidData

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SECONDS = 60.0
MAX_TEXT = 1_000
"""Maximum characters of a text; longer ones are truncated with an ellipsis."""
MAX_CELLS = 100_000
MAX_BYTES = 4 * 1024**2
"""Of all rows as JSON. The first row is always included: of the widest table it takes some 20 MB at most."""


class _Request(BaseModel):
    """The request to the child."""

    parquet: Path
    rows: int


class _Rows(BaseModel):
    """The response of the child."""

    rows: list[dict[str, Any]]


def preview_rows(parquet: Path, rows: int, allowed: Allowance) -> list[dict[str, Any]]:
    """The first `rows` rows, or fewer of a wide table, as JSON values by column name.

    Times are text, non-finite numbers None, and long texts truncated: a few bytes of Parquet can encode any number of
    values. Raises DatasetCorrupt if the file is missing or cannot be read.
    """
    asked = _Request(parquet=parquet.absolute(), rows=rows)
    allowed = allowed.model_copy(update={"seconds": min(allowed.seconds, MAX_SECONDS)})
    try:
        return _Rows.model_validate(ask(__name__, asked, allowed)).rows
    except InvalidData as error:
        raise DatasetCorrupt(f"the data set cannot be previewed: {error.detail}") from error


def _preview(asked: dict[str, Any], allowed: Allowance) -> _Rows:
    """In the child: respond to the request."""
    from service.data.duckdb_connection import translated_errors

    request = _Request.model_validate(asked)
    with translated_errors():
        found = first_rows(request.parquet, request.rows, memory_bytes=allowed.memory_bytes, cells=MAX_CELLS)
    return _Rows(rows=list(_within(found, MAX_BYTES)))


def _within(rows: list[dict[str, Any]], most_bytes: int) -> Iterator[dict[str, Any]]:
    """As many rows as fit, at least one."""
    left = most_bytes
    for number, row in enumerate(rows):
        left -= len(json.dumps(row).encode())
        if number and left < 0:
            return
        yield row


def first_rows(
    parquet: Path, rows: int, *, memory_bytes: int | None = None, cells: int | None = None
) -> list[dict[str, Any]]:
    """The first rows, read in this process, at most `cells` values but at least one row; long texts truncated."""
    # Imported here, because the API imports this module and must not import DuckDB.
    from service.data.duckdb_connection import sandbox
    from service.data.sql import sql_name
    from service.data.staging import SLICE_COLUMNS

    table = sandbox(parquet, memory_bytes=memory_bytes).read_parquet(str(parquet))
    names, kinds = table.columns, table.types
    if cells is not None:
        rows = max(1, min(rows, cells // len(names)))
    found: list[dict[str, Any]] = []
    for start in range(0, len(names), SLICE_COLUMNS):  # DuckDB reads 2,048 rows of each column at once
        part = names[start : start + SLICE_COLUMNS]
        columns = ", ".join(
            _cut(sql_name(name)) if kind.id == "varchar" else sql_name(name)
            for name, kind in zip(part, kinds[start : start + SLICE_COLUMNS], strict=True)
        )
        selected = table.project(", ".join(map(sql_name, part))).limit(rows).project(columns)
        values = [dict(zip(part, map(_plain, row), strict=True)) for row in selected.fetchall()]
        found = [{**known, **more} for known, more in zip(found or [{}] * len(values), values, strict=True)]
    return found


def _cut(column: str) -> str:
    return f"CASE WHEN length({column}) > {MAX_TEXT} THEN left({column}, {MAX_TEXT}) || '…' ELSE {column} END"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


if __name__ == "__main__":
    respond(_preview, "service.data.duckdb_connection", "service.data.staging")
