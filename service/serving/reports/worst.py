"""The rows of a report that were predicted worst, with the values of their most important columns."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.reports.report import WorstRow, WorstRows
from service.reports.slices import worst_rows
from service.spec.table import ColumnType, Value

if TYPE_CHECKING:
    from service.data.formats.prediction_table import PredictionTable
    from service.reports.rows import Columns
    from service.reports.sections.importance import Importance

ROWS = 50
COLUMNS = 8
MAX_TEXT = 200  # characters


def worst(
    evaluated: PredictionTable,
    losses: NDArray[np.float64],
    columns: Columns,
    types: Mapping[str, ColumnType],
    importance: Importance | None,
) -> WorstRows:
    """The rows with the largest of the losses (N,), with values of their columns (N,) of these types."""
    ordered = [] if importance is None else [each.columns[0] for each in importance.columns if len(each.columns) == 1]
    shown = (ordered or list(columns))[:COLUMNS]
    found = []
    for place in worst_rows(losses, ROWS).tolist():
        values = {name: _value(columns[name][place], types[name]) for name in shown}
        loss = float(losses[place])
        found.append(_row(evaluated, place, loss if isfinite(loss) else None, values))
    return WorstRows(columns=shown, rows=found)


def _row(table: PredictionTable, place: int, loss: float | None, values: dict[str, Value | None]) -> WorstRow:
    truth, prediction = table.truth[place], table.prediction[place]
    row = int(table.row[place])
    if table.classes is None or table.probabilities is None:
        return WorstRow(
            row=row, truth=float(truth), prediction=float(prediction), probability=None, loss=loss, values=values
        )
    return WorstRow(
        row=row,
        truth=table.classes[truth],
        prediction=table.classes[prediction],
        probability=float(table.probabilities[place, truth]),
        loss=loss,
        values=values,
    )


def _value(value: Any, kind: ColumnType) -> Value | None:
    if value is None or isinstance(value, str):
        return value if value is None or len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"
    if not isfinite(value):
        return None
    if kind is ColumnType.boolean:
        return bool(value)
    return int(value) if float(value).is_integer() else float(value)
