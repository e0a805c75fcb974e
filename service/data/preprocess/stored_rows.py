"""The rows of a stored data set that have a target, read some at a time and some columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from service.data.duckdb_connection import sandbox
from service.data.preprocess.preprocessing import Table
from service.data.preprocess.sources import read_as, without_mask
from service.data.sql import sql_name
from service.errors import DatasetCorrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from service.spec.data import DatasetData

CHUNK_CELLS = 4_000_000
"""Values that are read at once: 32 MB of numbers."""
TEXT_CELLS = 8
"""A text takes the memory of some 8 numbers."""


class StoredRows:
    """A stored table, of which one chunk of rows is in memory at a time."""

    def __init__(self, data: DatasetData, parquet: Path, progress: Callable[[], None] = lambda: None) -> None:
        """`progress` is called after each chunk. Raises DatasetCorrupt if the file cannot be read."""
        self._data, self._progress = data, progress
        try:
            self._connection = sandbox(parquet, metadata_cache=True)
            relation = self._connection.read_parquet(str(parquet), file_row_number=True)
            self._types = dict(zip(relation.columns, map(str, relation.types), strict=True))
            self._path, self.rows = str(parquet), len(relation)
        except duckdb.Error as error:
            raise self._corrupt(error) from error

    def chunks(self, columns: Sequence[str], inputs: int = 1) -> Iterator[Table]:
        """These columns of all rows that have a target, in the order of the table, as `load` reads them.

        `inputs`: values that the caller makes of a row.
        """
        cells = sum(TEXT_CELLS if self._types[name] == "VARCHAR" else 1 for name in columns)
        at_once = max(1, CHUNK_CELLS // max(cells, inputs))
        for first in range(0, self.rows, at_once):
            try:
                yield self._chunk(columns, first, first + at_once)
            except duckdb.Error as error:
                raise self._corrupt(error) from error
            self._progress()

    def _chunk(self, columns: Sequence[str], first: int, end: int) -> Table:
        relation = self._connection.read_parquet(self._path, file_row_number=True)
        here = f"file_row_number >= {first} AND file_row_number < {end}"
        values = [f"{read_as(sql_name(name), self._types[name])} AS c{i}" for i, name in enumerate(columns)]
        present = relation.filter(f"{here} AND {sql_name(self._data.target)} IS NOT NULL")
        found: dict[str, Any] = present.project(", ".join([*values, "file_row_number"])).fetchnumpy()
        numbers = np.asarray(found["file_row_number"], dtype=np.int64)
        return Table({name: without_mask(found[f"c{i}"]) for i, name in enumerate(columns)}, len(numbers), numbers)

    def _corrupt(self, error: duckdb.Error) -> DatasetCorrupt:
        return DatasetCorrupt(f"data set {self._data.id} cannot be read: {str(error).splitlines()[0]}")
