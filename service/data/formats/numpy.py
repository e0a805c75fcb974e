"""NPY and NPZ readers: the arrays X and y, read in blocks after their headers are validated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from service.data.formats.array_columns import stage, stage_features
from service.data.formats.npy_header import NpyArray, read_header
from service.data.formats.zip_archive import extract
from service.data.staging import RawSlice, Reading, ReadLimits
from service.errors import InvalidData
from service.spec.read_options import FileFormat, ReadAs, ReadOptions

X_NAMES = ("X", "x", "data")
Y_NAMES = ("y", "Y", "target", "labels")


def read_npy(
    connection: DuckDBPyConnection, source: Path, work: Path, options: ReadOptions, limits: ReadLimits
) -> Reading:
    """The array of an NPY file as the columns x0, x1, ...; raises InvalidData with the reason."""
    x = _array(source, "the array")
    slices, rows = stage_features(connection, source, x, work, limits)
    read_as = ReadAs(format=FileFormat.npy, shape=list(x.shape[1:]))
    return Reading(tuple(slices), rows, read_as, tuple(options.null or ()))


def read_npz(
    connection: DuckDBPyConnection, source: Path, work: Path, options: ReadOptions, limits: ReadLimits
) -> Reading:
    """The arrays X and y of an NPZ file as the columns x0, x1, ... and y.

    Raises InvalidData naming the array and the reason, TooLarge for arrays beyond the limits.
    """
    chosen, others = extract(source, work, {"x": X_NAMES, "y": Y_NAMES}, limits)
    if "x" not in chosen:
        raise InvalidData(f"no array is called X, x or data; there are: {', '.join(map(repr, others))[:200]}")
    x = _array(work / "x.npy", f"array {chosen['x']!r}")
    slices, rows = stage_features(connection, work / "x.npy", x, work, limits)
    if "y" in chosen:
        y = _array(work / "y.npy", f"array {chosen['y']!r}")
        slices.append(_target(connection, work / "y.npy", y, rows, limits))
    warnings = (f"arrays skipped: {', '.join(map(repr, others))[:200]}",) if others else ()
    read_as = ReadAs(format=FileFormat.npz, arrays=chosen, shape=list(x.shape[1:]))
    return Reading(tuple(slices), rows, read_as, tuple(options.null or ()), warnings=warnings)


def _array(path: Path, name: str) -> NpyArray:
    with path.open("rb") as file:
        return read_header(file, name, path.stat().st_size)


def _target(connection: DuckDBPyConnection, path: Path, y: NpyArray, rows: int, limits: ReadLimits) -> RawSlice:
    if math.prod(y.shape[1:]) != 1 or y.shape[:1] != (rows,):
        raise InvalidData(f"{y.name} has the shape {y.shape}: one value for each of the {rows:,} rows of X is needed")
    if y.size_bytes > limits.memory_bytes // 8:
        raise MemoryError
    with path.open("rb") as file:
        file.seek(y.offset)
        raw = np.fromfile(file, y.dtype, rows)
    values = _texts(raw, y) if y.dtype.kind in "US" else raw.astype(bool if y.dtype.kind == "b" else np.float64)
    return stage(connection, values[None], ("y",), path.with_suffix(".parquet"))


def _texts(raw: NDArray[Any], y: NpyArray) -> NDArray[Any]:
    try:
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in raw.tolist()]
        for text in texts:
            text.encode()
    except (UnicodeError, ValueError):
        raise InvalidData(f"{y.name} contains text that is not Unicode") from None
    if any("\0" in text for text in texts):
        raise InvalidData(f"{y.name} contains text with a NUL character")
    return np.array(texts, dtype=object)
