"""Answers to some of the rows of a file -> a Parquet file, for `join_answers.py` to put beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
from numpy.typing import NDArray

from service.data.duckdb_errors import duckdb_faults
from service.data.staging import write_parquet


def write_answers(path: Path, columns: Sequence[NDArray[Any]]) -> None:
    """Write columns of the same length to the Parquet file `path`, as c0, c1, ...; NaN becomes a missing value.

    Raises OSError when the disk fails.
    """
    with duckdb_faults(), duckdb.connect(config={"threads": 1}) as connection:
        connection.register("arrays", {f"c{i}": column for i, column in enumerate(columns)})
        write_parquet(connection.table("arrays"), path, len(columns))
