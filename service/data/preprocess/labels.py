"""Labels of rows to evaluate: the target column read as one more feature, so that rows and labels come together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.features import FittedFeature, class_indexes
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing, Table
from service.spec.table import ColumnType
from service.spec.text import some


def with_label(fitted: Preprocessing) -> Preprocessing:
    """The preprocessing with the target as its last feature; it reads rows, and is no input of a network."""
    return fitted.model_copy(update={"features": [*fitted.features, label_of(fitted.target)]})


def label_of(target: FittedTarget) -> FittedFeature:
    """How the target column is read."""
    classes = target.classes
    texts = [value for value in classes or () if isinstance(value, str)]
    kind = ColumnType.number
    if classes:
        kind = ColumnType.boolean if isinstance(classes[0], bool) else ColumnType.text if texts else kind
    return FittedFeature(column=target.column, type=kind, categories=texts or None, indicator=False)


def labelled(fitted: Preprocessing, table: Table) -> NDArray[np.bool_]:
    """(rows,) whether a row has a label."""
    values = table.columns[fitted.target.column]
    if values.dtype == object:
        return np.fromiter((value is not None for value in values), np.bool_, len(values))
    known: NDArray[np.bool_] = np.isfinite(values)
    return known


def true_values(target: FittedTarget, values: NDArray[Any]) -> NDArray[np.int64] | NDArray[np.float64]:
    """(n,) class indexes, -1 for none of the classes, or numbers."""
    return values if target.classes is None else class_indexes(values, target.classes)


def unknown_class(value: str | float, target: FittedTarget) -> str:
    """The message for a label that is none of the classes."""
    shown = value if isinstance(value, str) else f"{value:g}"
    names = [str(each).lower() if isinstance(each, bool) else str(each) for each in target.classes or ()]
    return f"{shown!r} is none of the classes, which are {some(names)}"
