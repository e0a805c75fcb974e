"""Predictions as columns, named as in files of predictions: of which distributions are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.drift.bins import number_profile, text_profile
from service.drift.profile import ColumnProfile
from service.spec.table import ColumnType

MAX_CLASSES = 10
"""Classes whose probability is a column: the most frequently predicted ones."""
PREDICTION = "prediction"
NOT_FINITE = "the mean of the predictions is beyond the range of float64"


def probability_of(name: str) -> str:
    """The column of a class."""
    return f"probability of {name}"


def prediction_columns(outputs: NDArray[np.float64], classes: list[str] | None) -> dict[str, NDArray[Any]]:
    """Columns of outputs (N, V), which are probabilities of V classes, or one number."""
    if classes is None:
        return {PREDICTION: outputs[:, 0]}
    columns: dict[str, NDArray[Any]] = {PREDICTION: np.array(classes, dtype=object)[outputs.argmax(axis=1)]}
    return columns | {probability_of(name): outputs[:, place] for place, name in enumerate(classes)}


def prediction_profiles(outputs: NDArray[np.float64], classes: list[str] | None) -> list[ColumnProfile]:
    """Profiles of outputs (N, V) for held-out rows; of two classes, the second one's probability says all."""
    columns = prediction_columns(outputs, classes)
    first = columns.pop(PREDICTION)
    if classes is None:
        return [number_profile(PREDICTION, ColumnType.number, first)]
    counts = np.bincount(outputs.argmax(axis=1), minlength=len(classes))
    chosen = [1] if len(classes) == 2 else np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES]).tolist()
    names = [probability_of(classes[place]) for place in chosen]
    return [
        text_profile(PREDICTION, first),
        *(number_profile(name, ColumnType.number, columns[name]) for name in names),
    ]


def mean_outputs(outputs: NDArray[np.float64]) -> list[float]:
    """(V,) means of outputs (N, V) over the rows with finite ones; not finite without such rows, and beyond float64."""
    known = outputs[np.isfinite(outputs).all(axis=1)]
    with np.errstate(over="ignore", invalid="ignore"):
        return (known.mean(axis=0) if len(known) else np.full(outputs.shape[1], np.nan)).tolist()
