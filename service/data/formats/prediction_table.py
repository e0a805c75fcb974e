"""Predictions of a job for its validation and test rows: arrays in memory, a Parquet file on disk.

The file has the columns `row`, `part`, `truth`, `prediction` and, for classes, `probability of CLASS` in the order of
the classes; its key-value metadata `bestepoch` is the `PredictionSource` as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray
from pydantic import ValidationError

from service.data.duckdb_connection import sandbox, translated_errors
from service.data.sql import sql_name, sql_text
from service.data.staging import ROW_GROUP_CELLS
from service.errors import PredictionsCorrupt
from service.spec.base import FrozenModel
from service.spec.job import Task
from service.spec.table import Value

KEPT_PARTS = ("validation", "test")
"""The parts of the split whose predictions are kept, in the order of their rows in the file."""
METADATA_KEY = "bestepoch"


class PredictionSource(FrozenModel):
    """What made the predictions."""

    job: str
    """The job's id."""
    epoch: int
    """The epoch of the weights."""
    sha256: str
    """SHA-256 of the checkpoint's safetensors file."""
    task: Task
    """Classification or regression."""
    target: str
    """The target column."""
    classes: tuple[Value, ...] | None
    """The classes in the order of the probabilities; null for regression."""


@dataclass(frozen=True)
class PredictionTable:
    """Predictions for N rows, those for validation first, each part in the order of its split."""

    source: PredictionSource
    row: NDArray[np.int64]
    """(N,) row numbers in the stored table, from 0."""
    part: NDArray[np.str_]
    """(N,) `validation` or `test`."""
    truth: NDArray[np.int64] | NDArray[np.float64]
    """(N,) class indexes, or numbers in the target's unit."""
    prediction: NDArray[np.int64] | NDArray[np.float64]
    """(N,) class indexes, or numbers in the target's unit; NaN for a number beyond the range of float64."""
    probabilities: NDArray[np.float32] | None
    """(N, classes) raw probabilities, not calibrated; None for regression."""

    @property
    def classes(self) -> tuple[Value, ...] | None:
        """The classes in the order of the indexes; None for regression."""
        return self.source.classes

    def only(self, part: str) -> PredictionTable:
        """The rows of one part."""
        kept = self.part == part
        probabilities = None if self.probabilities is None else self.probabilities[kept]
        return PredictionTable(
            self.source, self.row[kept], self.part[kept], self.truth[kept], self.prediction[kept], probabilities
        )


def write(table: PredictionTable, path: Path) -> None:
    """Write the table to the new Parquet file `path`; equal tables give equal bytes.

    Raises OSError if the disk fails.
    """
    arrays: dict[str, NDArray[Any]] = {
        "row": table.row,
        "validates": table.part == KEPT_PARTS[0],
        "truth": table.truth,
        "prediction": table.prediction,
    }
    columns = ["row", f"CASE WHEN validates THEN '{KEPT_PARTS[0]}' ELSE '{KEPT_PARTS[1]}' END AS part"]
    if table.classes is None or table.probabilities is None:
        arrays["prediction"] = np.where(
            np.isfinite(table.prediction), table.prediction, np.nan
        )  # NaN is written as NULL
        columns += ["truth", "prediction"]
    else:
        values = sql_list(table.classes)
        columns += [f"list_extract({values}, {name} + 1) AS {name}" for name in ("truth", "prediction")]
        for i, (name, column) in enumerate(zip(class_names(table.classes), table.probabilities.T, strict=True)):
            arrays[f"p{i}"] = np.ascontiguousarray(column)
            columns.append(f"p{i} AS {sql_name(f'probability of {name}')}")
    group = max(2_048, min(122_880, ROW_GROUP_CELLS // len(columns)))
    metadata = sql_text(table.source.model_dump_json())
    options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group}, KV_METADATA {{{METADATA_KEY}: {metadata}}}"
    with translated_errors(), _connection().cursor() as connection:
        connection.register("arrays", arrays)
        connection.execute(f"COPY (FROM arrays SELECT {', '.join(columns)}) TO {sql_text(str(path))} ({options})")


def read(path: Path) -> PredictionTable:
    """Read a file that `write` wrote; raises PredictionsCorrupt if it is missing or damaged."""
    try:
        with sandbox(path) as connection:
            return _read(connection, path)
    except (duckdb.Error, ValidationError, KeyError) as error:
        raise PredictionsCorrupt(f"the predictions cannot be read: {str(error).splitlines()[0]}") from error


def source_of(connection: DuckDBPyConnection, path: Path) -> PredictionSource:
    """What made the predictions of a file. Raises duckdb.Error, KeyError, ValidationError."""
    rows = connection.sql(f"FROM parquet_kv_metadata({sql_text(str(path))})")
    metadata = dict(rows.project("decode(key), decode(value)").fetchall())
    return PredictionSource.model_validate_json(metadata[METADATA_KEY])


def _read(connection: DuckDBPyConnection, path: Path) -> PredictionTable:
    source = source_of(connection, path)
    table = connection.read_parquet(str(path))
    columns = [sql_name(name) for name in table.columns]  # by position: DuckDB renames those that differ only in case
    selected = ["row", f"part = '{KEPT_PARTS[0]}'"]
    if source.classes is None:
        selected += ["truth", "prediction"]
    else:
        values = sql_list(source.classes)
        selected += [f"list_position({values}, {name}) - 1" for name in ("truth", "prediction")]
        selected += columns[4:]
    arrays = table.project(", ".join(f"{column} AS c{i}" for i, column in enumerate(selected))).fetchnumpy()
    row, validates, truth, prediction, *shares = map(_filled, arrays.values())
    kind: Any = np.float64 if source.classes is None else np.int64
    return PredictionTable(
        source,
        row.astype(np.int64),
        np.where(validates.astype(np.bool_), *KEPT_PARTS),
        truth.astype(kind),
        prediction.astype(kind),
        None if source.classes is None else np.stack(shares, axis=1),
    )


def class_names(classes: Sequence[Value]) -> list[str]:
    """The classes as text; booleans as `true` and `false`."""
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in classes]


def sql_list(classes: Sequence[Value]) -> str:
    """The classes as an SQL list of their common type."""
    if all(isinstance(value, str) for value in classes):
        return f"[{', '.join(sql_text(str(value)) for value in classes)}]::VARCHAR[]"
    if all(isinstance(value, bool) for value in classes):
        return f"[{', '.join(str(value).lower() for value in classes)}]::BOOLEAN[]"
    kind = "BIGINT" if all(isinstance(value, int) for value in classes) else "DOUBLE"
    return f"[{', '.join(f'{value!r}::{kind}' for value in classes)}]::{kind}[]"


def _filled(values: NDArray[Any]) -> NDArray[Any]:
    """Missing values as NaN."""
    return values.filled(np.nan) if isinstance(values, np.ma.MaskedArray) else values


@cache
def _connection() -> DuckDBPyConnection:
    """One for all files: to open a connection takes ten times as long as to write a small file."""
    return duckdb.connect(config={"threads": 1})
