"""Answers to rows: predictions with calibrated probabilities, intervals or sets of classes, as JSON and as columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from service.data.formats.prediction_table import class_names
from service.reports import conformal
from service.reports.temperature import apply_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.data.preprocess.preprocessing import Table
    from service.domain.prediction import PredictionOptions
    from service.serving.messages import Answer, Applied
    from service.serving.weighted_model import WeightedModel
    from service.spec.table import Value

ROUNDING = 1e-6
"""By so much of itself an interval or set is wider: predictions and the kept ones may differ in their last bits, and
where many rows have equal predictions, all of their true values may be at its end."""


@dataclass(frozen=True)
class Predicted:
    """What a model says about N rows."""

    classes: Sequence[Value] | None
    """The classes; None for regression."""
    values: NDArray[Any]
    """(N,) indexes of the most probable classes, or numbers."""
    probabilities: NDArray[np.float64] | None
    """(N, classes); None for regression."""
    sets: NDArray[np.bool_] | None
    """(N, classes): whether a class is in the row's set; None where not asked for."""
    interval: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """(N,) lower and upper ends; None where not asked for."""

    def to_json(self) -> list[Answer]:
        """`{"prediction": ...}` for each row, with `probabilities`, and `set` or `lower` and `upper` if asked for."""
        if self.classes is None or self.probabilities is None:
            columns = {"prediction": self.values, **self._ends()}
            lists = [[value if isfinite(value) else None for value in each.tolist()] for each in columns.values()]
            return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
        names = class_names(self.classes)
        answers: list[Answer] = [
            {"prediction": self.classes[best], "probabilities": dict(zip(names, row, strict=True))}
            for best, row in zip(self.values.tolist(), _null_unless_finite(self.probabilities), strict=True)
        ]
        if self.sets is not None:
            for answer, chosen in zip(answers, self.sets, strict=True):
                answer["set"] = [self.classes[place] for place in np.flatnonzero(chosen).tolist()]
        return answers

    def to_columns(self) -> list[NDArray[Any]]:
        """The columns that `column_names` names; NaN for a number beyond float64, sets as JSON text."""
        if self.classes is None or self.probabilities is None:
            columns = [self.values, *self._ends().values()]
            return [np.where(np.isfinite(each), each, np.nan) for each in columns]
        labels = np.array(self.classes, dtype=object if isinstance(self.classes[0], str) else None)
        found = [labels[self.values], *self.probabilities.T]
        if self.sets is not None:
            texts = [json.dumps(value, ensure_ascii=False) for value in self.classes]
            sets = [f"[{', '.join(texts[place] for place in np.flatnonzero(chosen).tolist())}]" for chosen in self.sets]
            found.append(np.array(sets, dtype=object))
        return found

    def _ends(self) -> dict[str, NDArray[np.float64]]:
        return {} if self.interval is None else dict(zip(("lower", "upper"), self.interval, strict=True))


def _null_unless_finite(values: NDArray[np.float64]) -> list[Any]:
    """The rows of a matrix as JSON has them."""
    finite = np.isfinite(values)
    found: Any = values
    if not finite.all():
        found = values.astype(object)
        found[~finite] = None
    rows: list[Any] = found.tolist()
    return rows


def predict_rows(model: WeightedModel, table: Table, applied: Applied) -> Predicted:
    """Predict the rows of the table. Sets and intervals are those of raw outputs, whose scores calibrate them."""
    classes = model.preprocessing.target.classes
    if classes is None:
        values = model.numbers(table)
        return Predicted(None, values, None, None, _interval(values, applied.quantile))
    raw = model.shares(table).numpy()
    best = raw.argmax(1)
    sets = None if applied.quantile is None else conformal.class_sets(raw, applied.quantile + ROUNDING)
    return Predicted(classes, best, apply_temperature(raw, applied.temperature), sets, None)


def _interval(
    values: NDArray[np.float64], quantile: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if quantile is None:
        return None
    spacing = 4.0 * np.finfo(np.float64).eps * np.abs(values)
    return conformal.interval(values, quantile * (1.0 + ROUNDING) + spacing)


def column_names(classes: Sequence[Value] | None, options: PredictionOptions) -> list[str]:
    """The names of the columns of a file of predictions."""
    names = ["prediction", *(f"probability of {name}" for name in class_names(classes or ()))]
    if options.interval is None:
        return names
    return [*names, "lower", "upper"] if classes is None else [*names, "set"]


def row_bytes(classes: Sequence[Value] | None, options: PredictionOptions) -> int:
    """Bytes of a row of these columns, at most, but for the text of the predicted class."""
    numbers = 8 * len(column_names(classes, options))
    if options.interval is None or classes is None:
        return numbers
    return numbers + sum(len(json.dumps(value)) for value in classes)
