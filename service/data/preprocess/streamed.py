"""The prepared data set of a job that streams its rows: the same split and encoding as `dataset.prepare`, with one
chunk of the table in memory at a time, and the rows of each part in the order of the table."""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from service.data.preprocess.dataset import Rows
from service.data.preprocess.features import FittedFeature, class_indexes, uses_quantiles
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.data.preprocess.sources import source_columns
from service.data.preprocess.split import split_rows
from service.data.preprocess.stored_rows import StoredRows
from service.data.preprocess.summaries import BUFFER, NumberSummary
from service.engine_constants import padded
from service.errors import InvalidSpec
from service.spec.data import DatasetData
from service.spec.split import PARTS
from service.spec.task import negative_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from service.data.preprocess.preprocessing import Table
    from service.spec.resolved import Preparation

SUMMARY_BYTES = 64 * 2**20
"""Summaries of the columns that are fitted together."""
SUMMARIZED_COLUMNS = 256
LEFT_OUT = len(PARTS)


class Piece(NamedTuple):
    """Consecutive rows of one part."""

    part: str
    start: int  # number of rows of the part before them
    rows: Rows


class ArrayShape(NamedTuple):
    """An array of a part: its type and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


class StreamedRows:
    """The rows of a stored table, split and encoded piece by piece; deterministic in the preparation and the data."""

    def __init__(self, preparation: Preparation, parquet: Path, progress: Callable[[], None] = lambda: None) -> None:
        """Split the rows and fit the preprocessing on the training rows; `progress` is called after each chunk.

        Raises DatasetCorrupt, and InvalidSpec if too few training rows are left.
        """
        assert isinstance(preparation.data, DatasetData)
        self._preparation, self._weight_column = preparation, preparation.data.weight
        self._stored = StoredRows(preparation.data, parquet, progress)
        self._part = self._split()
        sizes = np.bincount(self._part, minlength=LEFT_OUT + 1)[:LEFT_OUT].tolist()
        self.sizes = dict(zip(PARTS, sizes, strict=True))
        if sizes[0] < 2:
            message = f"the split leaves {sizes[0]} rows for training; at least 2 are needed"
            raise InvalidSpec.at("/split", message)
        self._weights = NumberSummary()
        self.preprocessing = self._fit()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def arrays(self) -> dict[str, ArrayShape]:
        """The arrays of all parts, by names such as `train.padded`; see Rows."""
        layout, regression = self.preprocessing.layout, self._preparation.target.classes is None
        found = {}
        for part, rows in self.sizes.items():
            found[f"{part}.padded"] = ArrayShape("<f4", (rows, padded(layout.numbers)))
            found[f"{part}.y"] = ArrayShape("<f4" if regression else "<i8", (rows,))
            found[f"{part}.row"] = ArrayShape("<i8", (rows,))
            if layout.categories:
                found[f"{part}.codes"] = ArrayShape("<i8", (rows, len(layout.categories)))
            if regression:
                found[f"{part}.truth"] = ArrayShape("<f8", (rows,))
            if part == PARTS[0] and self._weight_column is not None:
                found[f"{part}.weight"] = ArrayShape("<f4", (rows,))
        return found

    def pieces(self) -> Iterator[Piece]:
        """All rows of all parts, in the order of the table. Raises DatasetCorrupt."""
        target, sizes = self._preparation.target.column, dict.fromkeys(PARTS, 0)
        inputs = padded(self.preprocessing.layout.numbers)
        for table, parts in self._chunks([*source_columns(self._preparation), target], inputs):
            y, codes = self.preprocessing.targets(table), self.preprocessing.codes(table)
            for number, part in enumerate(PARTS):
                order = np.flatnonzero(parts == number)
                if len(order):
                    yield Piece(part, sizes[part], self._rows(table, order, y, codes, weighted=not number))
                    sizes[part] += len(order)

    def _rows(
        self, table: Table, order: NDArray[np.int64], y: NDArray[Any], codes: NDArray[np.int64] | None, weighted: bool
    ) -> Rows:
        target = self._preparation.target
        weight = None
        if weighted and self._weight_column is not None:
            largest = self._weights.largest
            relative = table.columns[self._weight_column][order] / largest
            weight = (relative / (self._weights.moments()[0] / largest)).astype(np.float32)
        return Rows(
            self.preprocessing.padded_inputs(table, order),
            self.preprocessing.layout.numbers,
            y[order],
            weight,
            codes=None if codes is None else codes[order],
            row=table.numbers(order),
            truth=table.columns[target.column][order] if target.classes is None else None,
        )

    def _chunks(self, columns: Sequence[str], inputs: int = 1) -> Iterator[tuple[Table, NDArray[np.uint8]]]:
        """These columns of all rows, and the number of the part of each row."""
        start = 0
        for table in self._stored.chunks(list(dict.fromkeys(columns)), inputs):
            yield table, self._part[start : start + table.rows]
            start += table.rows

    def _split(self) -> NDArray[np.uint8]:
        """(rows with a target,) the number of each row's part: the same rows as in memory."""
        target, split = self._preparation.target, self._preparation.split
        labels, keys, rows = list[Any](), list[Any](), 0
        smallest = 0.0
        for table in self._stored.chunks([*split.columns, target.column]):
            rows += table.rows
            values = table.columns[target.column]
            if split.stratify and target.classes is not None:
                labels.append(class_indexes(values, target.classes).astype(np.int32))
            if split.columns:
                keys.append(table.columns[split.columns[0]])
            if target.link == "log":
                smallest = min(smallest, float(values.min(initial=0.0)))
        if smallest < 0:
            raise InvalidSpec.at("/loss/kind", negative_target(target.column, smallest))
        joined = [np.concatenate(each) if each else None for each in (labels, keys)]
        del labels, keys
        parts = split_rows(rows, split, *joined)
        found = np.full(rows, LEFT_OUT, dtype=np.uint8)
        for number, own in enumerate((parts.train, parts.validation, parts.test)):
            found[own] = number
        return found

    def _fit(self) -> Preprocessing:
        """Fit to the training rows, some columns at a time."""
        preparation = self._preparation
        numeric, target = preparation.preprocess.numeric, preparation.target
        found: dict[str, NumberSummary] = {}
        for quantiles in (False, True):
            columns = [
                each.column
                for each in preparation.features
                if each.categories is None and uses_quantiles(each.type, numeric) is quantiles
            ]
            at_once = self._columns_at_once(quantiles)
            for first in range(0, len(columns), at_once):
                found |= self._summaries(columns[first : first + at_once], quantiles)
        own = [target.column] if target.classes is None else []
        own += [] if self._weight_column is None else [self._weight_column]
        of_rows = self._summaries(own, quantiles=False) if own else {}
        if self._weight_column is not None:
            self._weights = of_rows[self._weight_column]
            if self._weights.largest <= 0:
                message = f"every training row has the weight 0 in column {self._weight_column!r}"
                raise InvalidSpec.at("/data/weight", message)
        nothing = NumberSummary()
        return Preprocessing(
            features=[
                FittedFeature.of_summary(each, found.get(each.column, nothing), numeric)
                for each in preparation.features
            ],
            target=FittedTarget.of_summary(
                target, of_rows.get(target.column, nothing), preparation.preprocess.clip_target
            ),
            null_values=list(preparation.null_values),
            date_format=preparation.date_format,
        )

    def _columns_at_once(self, quantiles: bool) -> int:
        if not quantiles:
            return SUMMARIZED_COLUMNS
        rows = len(self._part)
        buffers = 3 + log2(max(rows / BUFFER, 1))
        return max(1, min(SUMMARIZED_COLUMNS, int(SUMMARY_BYTES / (8 * min(rows, buffers * BUFFER)))))

    def _summaries(self, columns: Sequence[str], quantiles: bool) -> dict[str, NumberSummary]:
        """Summaries of the training rows' values in these columns."""
        found = {column: NumberSummary(quantiles) for column in columns}
        for table, parts in self._chunks(columns):
            train = parts == 0
            for column, summary in found.items():
                summary.add(table.columns[column][train])
        return found
