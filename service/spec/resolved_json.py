"""Serializes a resolved job to JSON, which is stored with its spec, and restores it.

The encoding of columns is a separate document, because it may be large and the jobs of a sweep share it. Names that are
in the spec are left out, and adjacent columns with the same encoding are run-length encoded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from itertools import groupby
from typing import TYPE_CHECKING, Any

from service.spec.data import DatasetData
from service.spec.graph import NUMBERS, Graph, Node
from service.spec.input_layout import layout_of
from service.spec.layers import LAYERS, Activate, Activation, InputLayout
from service.spec.resolved import Feature, Resolved, RowCounts, Target, link_of
from service.spec.table import ColumnType

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from service.spec.job import JobSpec

ADDED = ("bins", "value_inputs", "embedding_size")
"""Fields of features that spec version 2 has added; left out of documents where they are 0 or None."""


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
    return {"layers": _nodes(resolved.graph), "rows": dict(vars(resolved.rows))}


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
            **{field: run[field] for field in ADDED if field in run},
        )
        for name, run in zip(names, runs, strict=True)
    ]
    classes = inputs["classes"]
    return Resolved(
        spec,
        tuple(features),
        Target(_target(spec), None if classes is None else tuple(classes), link_of(spec)),
        _graph(decided["layers"], layout_of(features)),
        RowCounts(**decided["rows"]),
        tuple(inputs["null_values"]),
        (),
        inputs["date_format"],
    )


def _document(resolved: Resolved) -> InputsDocument:
    treated = [(f.type, f.categories, f.other, f.indicator, _added(f)) for f in resolved.features]
    runs = [
        {
            "columns": len(list(alike)),
            "type": kind,
            "categories": categories,
            "other": other,
            "indicator": indicator,
            **dict(added),
        }
        for (kind, categories, other, indicator, added), alike in groupby(treated)
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


def _added(feature: Feature) -> tuple[tuple[str, int], ...]:
    """The fields of ADDED that differ from their default."""
    return tuple((name, value) for name in ADDED if (value := getattr(feature, name)))


def _names(spec: JobSpec, number: int) -> list[str]:
    """The features named in the spec; for synthetic and inline data x0, x1, ..."""
    if isinstance(spec.data, DatasetData) and spec.data.features is not None:
        return spec.data.features
    return [f"x{place}" for place in range(number)]


def _target(spec: JobSpec) -> str:
    return spec.data.target if isinstance(spec.data, DatasetData) else "y"


def _nodes(graph: Graph) -> list[dict[str, Any]]:
    """The layers as JSON; `inputs` is left out where a layer takes the value of the one before it."""
    stored, before = [], NUMBERS
    for node in graph.nodes:
        given = {f.name: getattr(node.layer, f.name) for f in fields(node.layer) if f.init}
        inputs = {} if node.inputs == (before,) else {"inputs": list(node.inputs)}
        label = {} if node.label is None else {"label": node.label}
        stored.append({"layer": type(node.layer).__name__, **given, **inputs, **label})
        before = node.name
    return stored


def _graph(stored: Sequence[Mapping[str, Any]], layout: InputLayout) -> Graph:
    nodes: list[Node] = []
    before = NUMBERS
    for each in stored:
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in each.items()}
        inputs, label = given.pop("inputs", (before,)), given.pop("label", None)
        kind = LAYERS[given.pop("layer")]
        if kind is Activate:
            given["function"] = Activation(given["function"])
        before = f"layers.{len(nodes)}"
        nodes.append(Node(before, kind(**given), inputs, label))
    return Graph(layout, tuple(nodes))
