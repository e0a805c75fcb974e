"""The rows that a report is about: feature columns of each part, aligned with the kept predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.dataset import split_table
from service.data.preprocess.features import class_indexes
from service.data.preprocess.preprocessing import Table
from service.data.preprocess.sources import load
from service.data.preprocess.split import SplitIndices
from service.domain.report import ReportInputs
from service.errors import DatasetCorrupt
from service.reports.regression_losses import RegressionLoss
from service.reports.rows import RowsOfPart, TrainingRows, Truth
from service.serving.reports.held_out import HeldOutPredictions
from service.serving.verified import check_sha256
from service.spec.layers import Convolution
from service.spec.resolved import Feature, Preparation, Resolved

MAX_COLUMNS = 1_000
MAX_CELLS = 200_000_000
"""Values of a table, of all rows, up to which its columns are read: 1.6 GB of numbers."""


@dataclass(frozen=True)
class ReportRows:
    """The rows of a job or a version."""

    every: RowsOfPart
    """Of the stored table."""
    evaluated: RowsOfPart
    """In the order of the predictions."""
    trained: int
    """Number of rows that any member was trained on."""
    splits: list[TrainingRows]
    """The different sets of training rows of the members."""


def read_rows(asked: ReportInputs, predictions: HeldOutPredictions, loss: RegressionLoss) -> ReportRows | str:
    """The rows, or why there are none; `loss`: of predicted numbers. Raises DatasetCorrupt."""
    jobs = [member.resolved for member in asked.members if member.resolved is not None]
    if len(jobs) < len(asked.members) or asked.no_columns is not None:
        return asked.no_columns or "the columns of the data set are not known any more"
    if any(isinstance(layer, Convolution) for job in jobs for layer in job.layers):
        return "the network reads images or sequences, not columns"
    features = features_of(jobs)
    if refused := _too_large(jobs[0], len(features)):
        return refused
    if asked.table is not None:
        check_sha256(asked.table, DatasetCorrupt("the stored rows are missing or changed; upload the file again"))
    preparation = replace(jobs[0].preparation, features=features)
    table = load(preparation, None if asked.table is None else asked.table.path)
    evaluated, parts = predictions.table, _splits(asked, jobs, preparation, table)
    places = evaluated.row if table.stored_rows is None else np.searchsorted(table.stored_rows, evaluated.row)
    target, classes = table.columns[preparation.target.column], preparation.target.classes
    if classes is None:
        truth = Truth(target, regression_loss=loss)
    else:
        truth = Truth(class_indexes(target, classes), len(classes))
    every = RowsOfPart({feature.column: table.columns[feature.column] for feature in features}, truth)
    return ReportRows(
        every,
        every.at(places),
        trained=len(reduce(np.union1d, [part.train for part in parts])),
        splits=_training_rows(parts, predictions.weights),
    )


def _training_rows(parts: Sequence[SplitIndices], weights: NDArray[np.float64]) -> list[TrainingRows]:
    """The different training rows of the members; `weights`: (M, N) of the members for the evaluated rows."""
    found = dict[bytes, TrainingRows]()
    for part, own in zip(parts, weights, strict=True):
        key = np.sort(part.train).tobytes()
        known = found.get(key)
        if known is None:
            found[key] = TrainingRows(part.train, part.validation, own)
        else:
            found[key] = replace(known, weights=known.weights + own)
    return [rows for rows in found.values() if rows.weights.any()]


def features_of(jobs: Sequence[Resolved]) -> tuple[Feature, ...]:
    """The features of all members."""
    found = dict[str, Feature]()
    for feature in (feature for job in jobs for feature in job.features):
        found.setdefault(feature.column, feature)
    return tuple(found.values())


def _too_large(job: Resolved, columns: int) -> str | None:
    if columns > MAX_COLUMNS:
        return f"there are {columns:,} columns, and at most {MAX_COLUMNS:,} are looked at"
    cells = (job.rows.train + job.rows.validation + job.rows.test) * columns
    if cells > MAX_CELLS:
        return f"the table has {cells:,} values; its columns are read up to {MAX_CELLS:,}"
    return None


def _splits(
    asked: ReportInputs, jobs: Sequence[Resolved], preparation: Preparation, table: Table
) -> list[SplitIndices]:
    """The split of each member."""
    found = dict[str, SplitIndices]()
    for split in (job.preparation.split for job in jobs):
        if repr(split) in found:
            continue
        own, rows = replace(preparation, split=split), table
        if not {*split.columns} <= table.columns.keys():
            rows = load(own, None if asked.table is None else asked.table.path)
        found[repr(split)] = split_table(own, rows)
    return [found[repr(job.preparation.split)] for job in jobs]


def table_of(rows: RowsOfPart, places: NDArray[np.int64]) -> Table:
    """The feature columns of these rows."""
    return Table({name: values[places] for name, values in rows.columns.items()}, len(places))
