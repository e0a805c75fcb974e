"""New labelled rows, read as in training and predicted as by `predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.formats.prediction_table import PredictionSource, PredictionTable
from service.data.preprocess.labels import labelled, true_values, unknown_class, with_label
from service.data.preprocess.preprocessing import Preprocessing, Table
from service.data.preprocess.sources import table_from_rows, table_from_staged
from service.domain.report import EvaluationInputs
from service.errors import FieldError, InvalidData, json_pointer
from service.serving.reports.held_out import HeldOutPredictions
from service.serving.weighted_model import WeightedModel

MAX_FAULTS = 20


@dataclass(frozen=True)
class LabelledRows:
    """The rows with a label."""

    row: NDArray[np.int64]
    """(N,) their numbers in the request, from 0."""
    table: Table
    """Their features."""
    truth: NDArray[Any]
    """(N,) class indexes, or numbers."""
    unlabelled: int
    """Number of rows without a label."""


def read_labelled(asked: EvaluationInputs, fitted: Preprocessing) -> LabelledRows:
    """The rows of the request; raises InvalidData with row and column of a wrong value, and if no row has a label."""
    reading = with_label(fitted)
    if asked.staged is None:
        table = table_from_rows(asked.rows, reading)
    else:
        table = table_from_staged(asked.staged, reading, range(asked.staged_rows))
    target = fitted.target.column
    known = np.flatnonzero(labelled(fitted, table))
    if not len(known):
        raise InvalidData(f"no row has a value of {target!r}, the target, to compare predictions with")
    values = table.columns[target][known]
    truth = true_values(fitted.target, values)
    if fitted.target.classes is not None and (truth < 0).any():
        _refuse(known, values, truth, fitted)
    features = {name: each[known] for name, each in table.columns.items() if name != target}
    return LabelledRows(known, Table(features, len(known)), truth, table.rows - len(known))


def _refuse(known: NDArray[np.int64], values: NDArray[Any], truth: NDArray[Any], fitted: Preprocessing) -> None:
    """Raise InvalidData that names the rows, given as JSON, whose label is none of the classes."""
    target = fitted.target
    faults = [
        FieldError(json_pointer("rows", int(known[place]), target.column), unknown_class(values[place], target))
        for place in islice(np.flatnonzero(truth < 0), MAX_FAULTS)
    ]
    raise InvalidData(f"{faults[0].pointer}: {faults[0].message}", tuple(faults))


def predict_labelled(
    model: WeightedModel, rows: LabelledRows, sources: Sequence[PredictionSource]
) -> HeldOutPredictions:
    """The predictions of the rows by all members; `sources`: what made them."""
    everywhere = np.ones((len(sources), len(rows.row)))
    if model.preprocessing.target.classes is None:
        numbers = model.numbers(rows.table)
        table = PredictionTable(sources[0], rows.row, 0, rows.truth, numbers, None)
    else:
        shares: NDArray[Any] = model.shares(rows.table).numpy()
        table = PredictionTable(sources[0], rows.row, 0, rows.truth, shares.argmax(1), shares)
    return HeldOutPredictions(table, everywhere, tuple(sources))
