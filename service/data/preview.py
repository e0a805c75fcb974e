"""The first rows of a stored table, read in a child process: the API itself knows no duckdb."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from service.errors import DatasetCorrupt

PREVIEW_SECONDS = 60.0


def preview_rows(parquet: Path, rows: int) -> list[dict[str, Any]]:
    """The first `rows` rows as JSON values by column name: times as text, numbers that are not finite as None.

    Raises DatasetCorrupt when the file is missing or cannot be read.
    """
    command = [sys.executable, "-P", "-m", "service.data.preview", str(parquet), str(rows)]
    try:
        child = subprocess.run(command, capture_output=True, timeout=PREVIEW_SECONDS, check=True)
    except subprocess.SubprocessError as error:
        raise DatasetCorrupt from error
    found: list[dict[str, Any]] = json.loads(child.stdout)
    return found


def _main(parquet: str, rows: str) -> None:
    """In the child: print the rows as JSON."""
    json.dump(first_rows(Path(parquet), int(rows)), sys.stdout, allow_nan=False)


def first_rows(parquet: Path, rows: int) -> list[dict[str, Any]]:
    """What `preview_rows` answers, in this process."""
    # Only here: the API imports this module, and must stay without duckdb.
    from service.data.sandbox import sandbox

    table = sandbox(parquet).read_parquet(str(parquet)).limit(rows)
    return [dict(zip(table.columns, map(_plain, row), strict=True)) for row in table.fetchall()]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


if __name__ == "__main__":
    _main(*sys.argv[1:])
