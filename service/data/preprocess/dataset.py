"""The prepared data set of a job: rows of a data source -> training, validation and test arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.features import class_indexes
from service.data.preprocess.preprocessing import Preprocessing, Table
from service.data.preprocess.sources import load
from service.data.preprocess.split import SplitIndices, split_rows
from service.errors import InvalidSpec
from service.spec.data import Data, DatasetData
from service.spec.early_stopping import Monitor
from service.spec.resolved import Preparation, Resolved
from service.spec.task import negative_target


class Pages(Protocol):
    """The pages of a file that are mapped into memory as the arrays of a row set."""

    def read_ahead(self, first: int, end: int) -> None:
        """Have the rows `first` to `end` read from disk, without waiting for them."""

    def release(self) -> None:
        """Release the memory of all pages; a page that is needed again is read again."""


@dataclass(frozen=True)
class Rows:
    """The rows of one part of the split, each array contiguous."""

    padded: NDArray[np.float32]  # (N, padded inputs): the inputs, then zeros, which the engine reads without a copy
    inputs: int
    y: NDArray[np.int64] | NDArray[np.float32]  # (N,) class indexes, or standardized values
    weight: NDArray[np.float32] | None = None  # (N,) sample weights of the training rows, 1 on average; None: all equal
    codes: NDArray[np.int64] | None = None  # (N, coded columns) category codes; None: there are no such columns
    row: NDArray[np.int64] | None = None  # (N,) numbers in the stored table, from 0; None: unknown
    truth: NDArray[np.float64] | None = None  # (N,) numbers to predict, as stored; None: classes, or unknown
    pages: Pages | None = None  # of the mapped file that holds the arrays; None: they are in memory

    @property
    def x(self) -> NDArray[np.float32]:
        """(N, inputs)."""
        return self.padded[:, : self.inputs]


@dataclass(frozen=True)
class Prepared:
    """The rows of a job by part, and the fitted preprocessing."""

    train: Rows
    validation: Rows
    test: Rows
    preprocessing: Preprocessing

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        parts = (self.train, self.validation, self.test)
        arrays = (
            each for rows in parts for each in (rows.padded, rows.y, rows.weight, rows.codes, rows.row, rows.truth)
        )
        return sum(each.nbytes for each in arrays if each is not None)

    def counted(self, resolved: Resolved) -> Resolved:
        """The job with exact row counts in place of estimates.

        Raises InvalidSpec if it monitors validation rows and there are none.
        """
        train, validation, test = (len(part.y) for part in (self.train, self.validation, self.test))
        if not validation and resolved.monitor is not Monitor.train_loss:
            raise InvalidSpec.at("/split", "the split leaves no validation rows")
        return replace(resolved, rows=replace(resolved.rows, train=train, validation=validation, test=test, exact=True))


def prepare(preparation: Preparation, parquet: Path | None) -> Prepared:
    """Load the table, then `prepare_table`; deterministic in `preparation` and the data.

    `parquet` is the stored table of a data set, None for data inside the spec. Raises DatasetCorrupt, and InvalidSpec
    if too few training rows are left.
    """
    return prepare_table(preparation, load(preparation, parquet))


def prepare_table(preparation: Preparation, table: Table) -> Prepared:
    """Split a loaded table, fit on the training rows, and transform all rows; raises as `prepare` does."""
    target = preparation.target
    if target.link == "log" and (smallest := table.columns[target.column].min(initial=0.0)) < 0:
        raise InvalidSpec.at("/loss/kind", negative_target(target.column, smallest))
    parts = split_table(preparation, table)
    if len(parts.train) < 2:
        raise InvalidSpec.at("/split", f"the split leaves {len(parts.train)} rows for training; at least 2 are needed")
    preprocessing = Preprocessing.fit(preparation, table, parts.train)
    order = np.concatenate([parts.train, parts.validation, parts.test])
    padded, row = preprocessing.padded_inputs(table, order), table.numbers(order)
    preprocessing.encode_out_of_fold(preparation, table, padded[: len(parts.train)], parts.train)
    y, codes = preprocessing.targets(table)[order], preprocessing.codes(table)
    codes = None if codes is None else codes[order]
    truth = table.columns[target.column][order] if target.classes is None else None
    places = pairwise(accumulate((len(parts.train), len(parts.validation), len(parts.test)), initial=0))
    train, validation, test = (
        Rows(
            padded[start:end],
            preprocessing.layout.numbers,
            y[start:end],
            codes=None if codes is None else codes[start:end],
            row=row[start:end],
            truth=None if truth is None else truth[start:end],
        )
        for start, end in places
    )
    train = replace(train, weight=_weight(preparation.data, table, parts))
    return Prepared(train, validation, test, preprocessing)


def split_table(preparation: Preparation, table: Table) -> SplitIndices:
    """The rows of each part of a loaded table; raises InvalidSpec when there are too few groups."""
    target, split = preparation.target, preparation.split
    labels = None if target.classes is None else class_indexes(table.columns[target.column], target.classes)
    keys = table.columns[split.columns[0]] if split.columns else None
    return split_rows(table.rows, split, labels, keys)


def _weight(data: Data, table: Table, parts: SplitIndices) -> NDArray[np.float32] | None:
    if not isinstance(data, DatasetData) or data.weight is None:
        return None
    weight = table.columns[data.weight][parts.train]
    # Divided by the maximum first, so that the sum of large weights stays finite.
    relative = weight / max(float(weight.max()), np.finfo(np.float64).tiny)
    if not relative.any():
        raise InvalidSpec.at("/data/weight", f"every training row has the weight 0 in column {data.weight!r}")
    normalized: NDArray[np.float32] = (relative / relative.mean()).astype(np.float32)
    return normalized
