"""Answers to the rows of a file: written as Parquet some at a time, then joined to one CSV or Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb
from numpy.typing import NDArray

from service.data.sandbox import sandbox
from service.data.sql import sql_name, sql_text
from service.data.staging import write_parquet


def write_columns(path: Path, columns: Sequence[NDArray[Any]]) -> None:
    """Write columns of the same length to the new Parquet file `path`, as c0, c1, ...; NaN becomes a missing value."""
    connection = duckdb.connect(config={"threads": 1})
    connection.register("arrays", {f"c{i}": column for i, column in enumerate(columns)})
    write_parquet(connection.table("arrays"), path, len(columns))
    connection.close()


def join_files(parts: Sequence[Path], names: Sequence[str], kind: Literal["csv", "parquet"], target: Path) -> None:
    """Write the rows of all `parts`, in their order, under these names to the new file `target`.

    Of names that differ only in case, DuckDB ends the later ones in _1, _2, ...
    """
    connection = sandbox(target, target.parent)
    files = ", ".join(sql_text(str(part)) for part in parts)
    columns = ", ".join(f"c{i} AS {sql_name(name)}" for i, name in enumerate(names))
    rows = connection.sql(f"FROM read_parquet([{files}]) SELECT {columns}")
    if kind == "csv":
        rows.write_csv(str(target), header=True)
    else:
        write_parquet(rows, target, len(names))
    connection.close()
