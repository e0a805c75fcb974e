"""Networks with columns of every type, and rows for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from service.data.preprocess.category_values import TargetMeans
from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.spec.job import JobSpec
from service.spec.lowering import lower
from service.spec.resolved import Feature
from service.spec.table import ColumnType
from service.training.checkpoint import LoadedCheckpoint
from service.training.models import build

DATES = [86_400.0 * day + 3_600 * (day % 24) for day in range(40)]
TARGETS: list[FittedTarget] = [
    FittedTarget(column="y", classes=["a", "b", "c"]),
    FittedTarget(column="y", classes=[False, True]),
    FittedTarget(column="y", classes=[0, 1, 7]),
    FittedTarget(column="y", classes=[0.5, 1.5]),
    FittedTarget(column="y", scale=3.5, link="log"),
    FittedTarget(column="y", mean=1e6, scale=3e4),
]
CLIPPED = FittedTarget(column="y", mean=1e6, scale=3e4, low=1e6 - 100.0, high=1e6 + 100.0)
WIDE = np.array(["a", "a", "b", None, "c", "b", "a", "é"], dtype=object)


def numbers(
    name: str, values: list[float], numeric: Any = "standardize", kind: Any = ColumnType.number
) -> FittedFeature:
    bins = 4 if numeric == "piecewise_linear" and kind is not ColumnType.boolean else 0
    feature = Feature(name, kind, indicator=kind is ColumnType.number, bins=bins)
    return FittedFeature.fit(feature, np.array(values), numeric)


def texts(name: str, *categories: str, other: bool) -> FittedFeature:
    feature = Feature(name, ColumnType.text, categories, other=other, indicator=other)
    return FittedFeature.fit(feature, np.array([categories[0]], dtype=object), "standardize")


def wide(name: str, means: TargetMeans | None, *, indicator: bool) -> FittedFeature:
    """A text column encoded by mean target, or by frequency."""
    inputs = means.classes if means is not None and means.classes > 2 else 1
    return FittedFeature.fit(
        Feature(name, ColumnType.text, (), indicator=indicator, value_inputs=inputs), WIDE, "standardize", means
    )


def of_every_encoding(target: FittedTarget) -> LoadedCheckpoint:
    """A network, not trained, of columns of every encoding but the quantile transform."""
    means = TargetMeans(np.arange(len(WIDE)) % 3, 3, 10.0, 0)
    features = [
        numbers("size", [1.0, 2.0, np.nan, 4.0, 1e9, 7.0, 1e-3], "piecewise_linear"),
        wide("city", means, indicator=True),
        numbers("constant", [3.0, 3.0, 3.0], "robust"),
        numbers("when", DATES, "piecewise_linear", ColumnType.datetime),
        texts("linear", "x", "y", other=True),
        numbers("two", [0.0, 1.0, 1.0], "piecewise_linear"),
        wide("street", None, indicator=False),
        numbers("smoker", [0.0, 1.0, 1.0], "robust", ColumnType.boolean),
    ]
    return untrained(Preprocessing(features=features, target=target, null_values=["unknown", "-"]))


def mixed(target: FittedTarget, numeric: str = "standardize") -> LoadedCheckpoint:
    """A network, not trained, of a column of every type."""
    features = [
        numbers("size", [1.0, 2.0, np.nan, 4.0, 1e9], numeric),
        texts("city", "", "Böblingen", "Ulm", other=True),
        numbers("when", DATES, numeric, ColumnType.datetime),
        texts("linear", "x", "y", other=False),  # named as a node of a graph may be
        numbers("smoker", [0.0, 1.0, 1.0], numeric, ColumnType.boolean),
    ]
    return untrained(Preprocessing(features=features, target=target, null_values=["unknown", "-"]))


def untrained(
    preprocessing: Preprocessing, architecture: dict[str, Any] | None = None, seed: int = 0
) -> LoadedCheckpoint:
    """A network with its initial weights, for these inputs."""
    data = {"kind": "dataset", "id": "ds_1", "target": "y"}
    spec = JobSpec.model_validate({"data": data, "architecture": architecture or {}})
    layers = lower(spec.architecture, preprocessing.layout, len(preprocessing.target.classes or [0]))
    torch.manual_seed(seed)
    return LoadedCheckpoint(
        build(layers).eval(), layers, preprocessing, spec, 3, {"val_loss": 0.5, "val_accuracy": 0.75}
    )


MIXED_ROWS: list[dict[str, Any]] = [
    {"size": 2.5, "city": "Ulm", "when": "1970-01-20T10:30:00Z", "linear": "x", "smoker": True},
    {"size": -1e300, "city": "", "when": "1970-02-01", "linear": "z", "smoker": False},
    {"size": None, "city": None, "when": None, "linear": None, "smoker": None},
    {"size": 1e9, "city": "unknown", "when": "2170-02-01T00:00:00+09:00", "linear": "-", "smoker": 1},
    {"city": "Böblingen"},
]
