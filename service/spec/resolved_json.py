"""Serializes a resolved job to JSON, which is stored with its spec, and restores it.

The encoding of columns is a separate document, because it may be large and the jobs of a sweep share it. Names that are
in the spec are left out, and adjacent columns with the same encoding are run-length encoded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from service.spec.data import DatasetData
from service.spec.layer_specs import Activation
from service.spec.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    Pool,
    Unflatten,
)
from service.spec.resolved import Feature, Resolved, RowCounts, Target
from service.spec.table import ColumnType

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from service.spec.job import JobSpec

LAYER_TYPES = (Linear, Convolution, BatchNorm, LayerNorm, Activate, Dropout, Pool, Flatten, Unflatten)
_LAYERS: dict[str, type[Layer]] = {kind.__name__: kind for kind in LAYER_TYPES}


@dataclass(frozen=True)
class InputsDocument:
    """The encoding of a table's columns as inputs and target."""

    content: dict[str, Any]
    size_bytes: int
    sha256: str


class InputsDocuments:
    """Documents of many resolved jobs; jobs of a sweep share their tuple of features, which is serialized once."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[Resolved, InputsDocument]] = {}
        self._known: dict[str, InputsDocument] = {}  # by SHA-256, to keep one of equal documents

    def of(self, resolved: Resolved) -> InputsDocument:
        """The document of this job."""
        classes = resolved.target.classes
        key = (
            *(id(resolved.features), isinstance(resolved.spec.data, DatasetData)),  # they determine the names
            *(classes, classes and type(classes[0])),  # False and 0 are equal
            *(resolved.null_values, resolved.date_format),
        )
        if key not in self._made:
            document = _document(resolved)
            # Keep a reference to the job, so that its id() is not reused.
            self._made[key] = resolved, self._known.setdefault(document.sha256, document)
        return self._made[key][1]


def decided(resolved: Resolved) -> dict[str, Any]:
    """The rest of a resolved job as JSON: layers and row counts."""
    layers = [{"layer": type(layer).__name__, **vars(layer)} for layer in resolved.layers]
    return {"layers": layers, "rows": dict(vars(resolved.rows))}


def restored(spec: JobSpec, decided: Mapping[str, Any], inputs: Mapping[str, Any]) -> Resolved:
    """Restore the job from `decided` and its inputs document; without warnings, which are not stored here."""
    runs = [run for run in inputs["features"] for _ in range(run["columns"])]
    names = inputs["names"] or _names(spec, len(runs))
    features = [
        Feature(
            name,
            ColumnType(run["type"]),
            None if run["categories"] is None else tuple(run["categories"]),
            run["other"],
            run["indicator"],
        )
        for name, run in zip(names, runs, strict=True)
    ]
    classes = inputs["classes"]
    return Resolved(
        spec,
        tuple(features),
        Target(_target(spec), None if classes is None else tuple(classes)),
        tuple(_layer(layer) for layer in decided["layers"]),
        RowCounts(**decided["rows"]),
        tuple(inputs["null_values"]),
        (),
        inputs["date_format"],
    )


def _document(resolved: Resolved) -> InputsDocument:
    treated = [(f.type, f.categories, f.other, f.indicator) for f in resolved.features]
    runs = [
        {"columns": len(list(alike)), "type": kind, "categories": categories, "other": other, "indicator": indicator}
        for (kind, categories, other, indicator), alike in groupby(treated)
    ]
    names = [feature.column for feature in resolved.features]
    classes = resolved.target.classes
    content = {
        "names": None if names == _names(resolved.spec, len(names)) else names,
        "features": runs,
        "classes": None if classes is None else list(classes),
        "null_values": list(resolved.null_values),
        "date_format": resolved.date_format,
    }
    text = json.dumps(content, sort_keys=True).encode()
    return InputsDocument(content, len(text), hashlib.sha256(text).hexdigest())


def _names(spec: JobSpec, number: int) -> list[str]:
    """The features named in the spec; for synthetic and inline data x0, x1, ..."""
    if isinstance(spec.data, DatasetData) and spec.data.features is not None:
        return spec.data.features
    return [f"x{place}" for place in range(number)]


def _target(spec: JobSpec) -> str:
    return spec.data.target if isinstance(spec.data, DatasetData) else "y"


def _layer(stored: Mapping[str, Any]) -> Layer:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    kind = _LAYERS[fields.pop("layer")]
    if kind is Activate:
        fields["function"] = Activation(fields["function"])
    return kind(**fields)
