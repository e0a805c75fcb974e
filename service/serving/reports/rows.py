"""The rows of a job for its report: feature columns of each part, aligned with the kept predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.data.formats.prediction_table import PredictionTable
from service.data.preprocess.dataset import split_table
from service.data.preprocess.features import class_indexes
from service.data.preprocess.preprocessing import Table
from service.data.preprocess.sources import load
from service.domain.report import ReportInputs
from service.errors import DatasetCorrupt
from service.reports.regression_losses import RegressionLoss
from service.reports.rows import RowsOfPart, Truth
from service.serving.verified import check_sha256
from service.spec.layers import Convolution

MAX_COLUMNS = 1_000
MAX_CELLS = 200_000_000
"""Values of a table, of all rows, up to which its columns are read: 1.6 GB of numbers."""


@dataclass(frozen=True)
class JobRows:
    """The rows of a job by part."""

    train: RowsOfPart
    validation: RowsOfPart
    evaluated: RowsOfPart
    """In the order of the predictions."""


def read_rows(asked: ReportInputs, evaluated: PredictionTable, loss: RegressionLoss) -> JobRows | str:
    """The rows, or why there are none; `loss`: of predicted numbers. Raises DatasetCorrupt."""
    if asked.resolved is None or asked.no_columns is not None:
        return asked.no_columns or "the columns of the data set are not known any more"
    preparation = asked.resolved.preparation
    if any(isinstance(layer, Convolution) for layer in asked.resolved.layers):
        return "the network reads images or sequences, not columns"
    if len(preparation.features) > MAX_COLUMNS:
        return f"there are {len(preparation.features):,} columns, and at most {MAX_COLUMNS:,} are looked at"
    counts = asked.resolved.rows
    cells = (counts.train + counts.validation + counts.test) * len(preparation.features)
    if cells > MAX_CELLS:
        return f"the table has {cells:,} values; its columns are read up to {MAX_CELLS:,}"
    if asked.table is not None:
        check_sha256(asked.table, DatasetCorrupt("the stored rows are missing or changed; upload the file again"))
    table = load(preparation, None if asked.table is None else asked.table.path)
    parts = split_table(preparation, table)
    places = evaluated.row if table.stored_rows is None else np.searchsorted(table.stored_rows, evaluated.row)
    target, classes = table.columns[preparation.target.column], preparation.target.classes
    if classes is None:
        truth = Truth(target, regression_loss=loss)
    else:
        truth = Truth(class_indexes(target, classes), len(classes))
    features = dict.fromkeys(feature.column for feature in preparation.features)
    every = RowsOfPart({name: table.columns[name] for name in features}, truth)
    return JobRows(every.at(parts.train), every.at(parts.validation), every.at(places))


def table_of(rows: RowsOfPart, places: NDArray[np.int64]) -> Table:
    """The feature columns of these rows."""
    return Table({name: values[places] for name, values in rows.columns.items()}, len(places))
