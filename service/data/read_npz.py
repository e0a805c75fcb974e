"""NPY and NPZ: the arrays X and y, read in blocks by numpy once their headers are found sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from service.data.npy import Array, read_header
from service.data.staging import MAX_COLUMNS, SLICE_COLUMNS, Limits, Raw, Reading, parquet_sql, write_parquet
from service.data.unzip import extract
from service.errors import InvalidData
from service.spec.reading import FileFormat, ReadAs, ReadOptions

X_NAMES = ("X", "x", "data")
Y_NAMES = ("y", "Y", "target", "labels")
BLOCK_BYTES = 8 * 2**20


def read_npy(connection: DuckDBPyConnection, source: Path, work: Path, options: ReadOptions, limits: Limits) -> Reading:
    """The array of an NPY file as the columns x0, x1, ...; raises InvalidData saying what is wrong with it."""
    x = _array(source, "the array")
    slices, rows = _features(connection, source, x, work, limits)
    read_as = ReadAs(format=FileFormat.npy, shape=list(x.shape[1:]))
    return Reading(tuple(slices), rows, read_as, tuple(options.null or ()))


def read_npz(connection: DuckDBPyConnection, source: Path, work: Path, options: ReadOptions, limits: Limits) -> Reading:
    """The arrays X and y of an NPZ file as the columns x0, x1, ... and y.

    Raises InvalidData naming the array and what is wrong with it, TooLarge for arrays beyond the limits.
    """
    chosen, others = extract(source, work, {"x": X_NAMES, "y": Y_NAMES}, limits)
    if "x" not in chosen:
        raise InvalidData(f"no array is called X, x or data; there are: {', '.join(map(repr, others))[:200]}")
    x = _array(work / "x.npy", f"array {chosen['x']!r}")
    slices, rows = _features(connection, work / "x.npy", x, work, limits)
    if "y" in chosen:
        y = _array(work / "y.npy", f"array {chosen['y']!r}")
        slices.append(_target(connection, work / "y.npy", y, rows, limits))
    warnings = (f"arrays that were not read: {', '.join(map(repr, others))[:200]}",) if others else ()
    read_as = ReadAs(format=FileFormat.npz, arrays=chosen, shape=list(x.shape[1:]))
    return Reading(tuple(slices), rows, read_as, tuple(options.null or ()), warnings=warnings)


def _array(path: Path, name: str) -> Array:
    with path.open("rb") as file:
        return read_header(file, name, path.stat().st_size)


def _features(
    connection: DuckDBPyConnection, path: Path, x: Array, work: Path, limits: Limits
) -> tuple[list[Raw], int]:
    """Stage X, flattened to (rows, columns); a slice of columns at a time, so that memory is bounded."""
    rows, columns = (x.shape[0], math.prod(x.shape[1:])) if x.shape else (0, 0)
    if not rows or not columns:
        raise InvalidData(f"{x.name} has the shape {x.shape}: at least one row and one column are needed")
    if columns > MAX_COLUMNS:
        raise InvalidData(f"{x.name} has rows of {columns:,} values; at most {MAX_COLUMNS:,} are read")
    if x.dtype.kind in "US":
        raise InvalidData(f"{x.name} holds texts: X must be numbers")
    if x.fortran_order and len(x.shape) > 2:
        raise InvalidData(f"{x.name} is in Fortran order: save numpy.ascontiguousarray of it")
    width = min(SLICE_COLUMNS, limits.memory_bytes // 8 // (8 * rows))
    if not width:
        raise MemoryError
    slices = []
    for start in range(0, columns, width):
        taken = range(start, min(start + width, columns))
        values = np.empty((len(taken), rows), dtype=bool if x.dtype.kind == "b" else np.float64)
        for place, block in _blocks(path, x, rows, columns, taken):
            values[place] = block
        staged = work / f"x{start}.parquet"
        slices.append(_stage(connection, values, tuple(f"x{i}" for i in taken), staged))
    return slices, rows


def _blocks(
    path: Path, x: Array, rows: int, columns: int, taken: range
) -> Iterator[tuple[tuple[slice, slice], NDArray[Any]]]:
    """Pieces of X transposed: (where in the (taken, rows) array, the values)."""
    everything = slice(None)
    with path.open("rb") as file:
        if x.fortran_order:
            for number, column in enumerate(taken):
                file.seek(x.offset + column * rows * x.dtype.itemsize)
                yield (slice(number, number + 1), everything), np.fromfile(file, x.dtype, rows)[None]
            return
        file.seek(x.offset)
        size = max(1, BLOCK_BYTES // (columns * x.dtype.itemsize))
        for start in range(0, rows, size):
            count = min(size, rows - start)
            block = np.fromfile(file, x.dtype, count * columns).reshape(count, columns)
            yield (everything, slice(start, start + count)), block[:, taken.start : taken.stop].T


def _target(connection: DuckDBPyConnection, path: Path, y: Array, rows: int, limits: Limits) -> Raw:
    if math.prod(y.shape[1:]) != 1 or y.shape[:1] != (rows,):
        raise InvalidData(f"{y.name} has the shape {y.shape}: one value for each of the {rows:,} rows of X is needed")
    if y.size_bytes > limits.memory_bytes // 8:
        raise MemoryError
    with path.open("rb") as file:
        file.seek(y.offset)
        raw = np.fromfile(file, y.dtype, rows)
    values = _texts(raw, y) if y.dtype.kind in "US" else raw.astype(bool if y.dtype.kind == "b" else np.float64)
    return _stage(connection, values[None], ("y",), path.with_suffix(".parquet"))


def _texts(raw: NDArray[Any], y: Array) -> NDArray[Any]:
    try:
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in raw.tolist()]
        for text in texts:
            text.encode()
    except (UnicodeError, ValueError):
        raise InvalidData(f"{y.name} holds a text that is not Unicode") from None
    if any("\0" in text for text in texts):
        raise InvalidData(f"{y.name} holds a text with a NUL character")
    return np.array(texts, dtype=object)


def _stage(connection: DuckDBPyConnection, values: NDArray[Any], names: tuple[str, ...], path: Path) -> Raw:
    """Write `values`, (columns, rows), to a Parquet file; NaN becomes a missing value."""
    connection.register("arrays", {f"c{i}": column for i, column in enumerate(values)})
    write_parquet(connection.table("arrays"), path, len(names))
    connection.unregister("arrays")
    return Raw(parquet_sql(path), names)
