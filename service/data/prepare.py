"""A resolved job -> the arrays it trains on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess import Preprocessing, class_indexes
from service.data.sources import load
from service.data.split import split_rows
from service.spec.resolve import Resolved


@dataclass(frozen=True)
class Rows:
    """Rows of one part, contiguous."""

    x: NDArray[np.float32]  # (N, inputs)
    y: NDArray[np.int64] | NDArray[np.float32]  # (N,) class indexes, or standardized values


@dataclass(frozen=True)
class Prepared:
    """The rows of a job by part, and what they went through."""

    train: Rows
    validation: Rows
    test: Rows
    preprocessing: Preprocessing


def prepare(resolved: Resolved, parquet: Path | None) -> Prepared:
    """Load, split, fit on the training rows, and transform all; a function of the spec and the data alone.

    `parquet` is the stored table of a data set, None for data that travels in the spec. Raises DatasetCorrupt.
    """
    table = load(resolved, parquet)
    target = resolved.target
    labels = None if target.classes is None else class_indexes(table.columns[target.column], target.classes)
    parts = split_rows(table.rows, resolved.spec.split, labels)
    preprocessing = Preprocessing.fit(resolved, table, parts.train)
    x, y = preprocessing.inputs(table), preprocessing.targets(table)
    train, validation, test = (Rows(x[part], y[part]) for part in (parts.train, parts.validation, parts.test))
    return Prepared(train, validation, test, preprocessing)
