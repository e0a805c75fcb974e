"""Arrays to columns x0, x1, ..., and back to Parquet: staged one slice at a time, so that memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from service.data.column_names import MAX_COLUMNS
from service.data.duckdb_connection import translated_errors
from service.data.formats.npy_header import NpyArray
from service.data.staging import SLICE_COLUMNS, RawSlice, ReadLimits, parquet_sql, write_parquet
from service.errors import InvalidData

BLOCK_BYTES = 8 * 2**20


def stage_features(
    connection: DuckDBPyConnection, path: Path, x: NpyArray, work: Path, limits: ReadLimits
) -> tuple[list[RawSlice], int]:
    """Stage the array `x` of the file `path`, flattened to (rows, columns): its slices, and the number of rows.

    Writes to the folder `work`. Raises InvalidData, with the array's name, unless it has rows of numbers, and
    MemoryError if not even one column fits.
    """
    rows, columns = (x.shape[0], math.prod(x.shape[1:])) if x.shape else (0, 0)
    if not rows or not columns:
        raise InvalidData(f"{x.name} has the shape {x.shape}: at least one row and one column are needed")
    if columns > MAX_COLUMNS:
        raise InvalidData(f"{x.name} has rows of {columns:,} values; at most {MAX_COLUMNS:,} are read")
    if x.dtype.kind in "US":
        raise InvalidData(f"{x.name} contains text: X must be numeric")
    if x.fortran_order and len(x.shape) > 2:
        raise InvalidData(f"{x.name} is in Fortran order: save numpy.ascontiguousarray of it")
    dtype = x.dtype if x.dtype.kind == "b" or x.dtype == np.uint8 else np.dtype(np.float64)
    width = min(SLICE_COLUMNS, limits.memory_bytes // 8 // (dtype.itemsize * rows))
    if not width:
        raise MemoryError
    slices = []
    for start in range(0, columns, width):
        taken = range(start, min(start + width, columns))
        values = np.empty((len(taken), rows), dtype)
        for place, block in _blocks(path, x, rows, columns, taken):
            values[place] = block
        staged = work / f"x{start}.parquet"
        slices.append(stage(connection, values, tuple(f"x{i}" for i in taken), staged))
    return slices, rows


def _blocks(
    path: Path, x: NpyArray, rows: int, columns: int, taken: range
) -> Iterator[tuple[tuple[slice, slice], NDArray[Any]]]:
    """Blocks of X transposed: (position in the (columns, rows) array, values)."""
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


def stage(connection: DuckDBPyConnection, values: NDArray[Any], names: tuple[str, ...], path: Path) -> RawSlice:
    """Write `values` (columns, rows) to a Parquet file; NaN becomes a missing value."""
    connection.register("arrays", {f"c{i}": column for i, column in enumerate(values)})
    write_parquet(connection.table("arrays"), path, len(names))
    connection.unregister("arrays")
    return RawSlice(parquet_sql(path), names)


def write_predictions(path: Path, columns: Sequence[NDArray[Any]]) -> None:
    """Write predictions, columns of equal length, to the Parquet file `path` as c0, c1, ...; NaN becomes missing.

    `join_predictions` joins such files. Raises OSError if the disk fails.
    """
    with translated_errors(), duckdb.connect(config={"threads": 1}) as connection:
        connection.register("arrays", {f"c{i}": column for i, column in enumerate(columns)})
        write_parquet(connection.table("arrays"), path, len(columns))
