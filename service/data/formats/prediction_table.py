"""Predictions of a job for its validation and test rows: arrays in memory, a safetensors file on disk.

The header's metadata are a `_Header` as JSON, under one key: safetensors writes several keys in a random order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from service.errors import PredictionsCorrupt
from service.spec.base import FrozenModel
from service.spec.job import Task
from service.spec.table import Value

KEPT_PARTS = ("validation", "test")
"""The parts of the split whose predictions are kept, in the order of their rows in the file."""
KEY = "bestepoch"  # of the metadata


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


class _Header(FrozenModel):
    source: PredictionSource
    validation_rows: int


@dataclass(frozen=True)
class PredictionTable:
    """Predictions for N rows, those for validation first, each part in the order of its split."""

    source: PredictionSource
    row: NDArray[np.int64]
    """(N,) row numbers in the stored table, from 0."""
    validation_rows: int
    """How many of the N are for validation; the others are for test."""
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
        first, end = _bounds(part, self.validation_rows, len(self.row))
        return PredictionTable(
            self.source,
            self.row[first:end],
            min(max(self.validation_rows - first, 0), end - first),
            self.truth[first:end],
            self.prediction[first:end],
            None if self.probabilities is None else self.probabilities[first:end],
        )


def to_bytes(table: PredictionTable) -> bytes:
    """Serialize the table; equal tables give equal bytes."""
    kind: Any = np.float64 if table.classes is None else np.int32
    prediction = (
        table.prediction if table.classes else np.where(np.isfinite(table.prediction), table.prediction, np.nan)
    )
    arrays: dict[str, NDArray[Any]] = {"row": table.row, "truth": table.truth.astype(kind, copy=False)}
    arrays["prediction"] = prediction.astype(kind, copy=False)
    if table.probabilities is not None:
        arrays["probabilities"] = table.probabilities
    header = _Header(source=table.source, validation_rows=table.validation_rows).model_dump_json()
    return safetensors.numpy.save({name: np.ascontiguousarray(each) for name, each in arrays.items()}, {KEY: header})


def read(path: Path, part: str | None = None, offset: int = 0, limit: int | None = None) -> PredictionTable:
    """Read a file of `to_bytes`: at most `limit` rows of one part or of both, without the first `offset`.

    Raises PredictionsCorrupt if it is missing or damaged.
    """
    with _opened(path) as file:
        return _read(file, part, offset, limit)


def read_row_numbers(path: Path, part: str) -> NDArray[np.int64]:
    """The row numbers of one part, without its predictions; raises PredictionsCorrupt as `read` does."""
    with _opened(path) as file:
        row: NDArray[np.int64] = file.get_tensor("row")
        first, end = _bounds(part, _header(file).validation_rows, len(row))
        return row[first:end]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "numpy") as file:
            yield file
    except (OSError, SafetensorError, ValidationError, KeyError, ValueError) as error:
        raise PredictionsCorrupt(f"the predictions cannot be read: {str(error).splitlines()[0]}") from error


def _header(file: Any) -> _Header:
    return _Header.model_validate_json((file.metadata() or {})[KEY])


def _read(file: Any, part: str | None, offset: int, limit: int | None) -> PredictionTable:
    header = _header(file)
    source, validation = header.source, header.validation_rows
    rows = file.get_slice("row").get_shape()[0]
    first, end = _bounds(part, validation, rows)
    first = min(first + offset, end)
    if limit is not None:
        end = min(first + limit, end)

    def values(name: str) -> NDArray[Any]:
        # A slice of no rows is an error.
        found: NDArray[Any] = file.get_slice(name)[first:end] if first < end else file.get_tensor(name)[:0]
        return found

    kind: Any = np.float64 if source.classes is None else np.int64
    return PredictionTable(
        source,
        values("row"),
        min(max(validation - first, 0), end - first),
        values("truth").astype(kind),
        values("prediction").astype(kind),
        None if source.classes is None else values("probabilities"),
    )


def _bounds(part: str | None, validation: int, rows: int) -> tuple[int, int]:
    """The first row of a part, or of both, and the row after its last."""
    return {None: (0, rows), KEPT_PARTS[0]: (0, validation), KEPT_PARTS[1]: (validation, rows)}[part]


def class_names(classes: Sequence[Value]) -> list[str]:
    """The classes as text; booleans as `true` and `false`."""
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in classes]
