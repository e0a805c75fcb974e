"""Factors of the learning rate by layer: `optimizer.rates`, and the layers' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import InvalidSpec, json_pointer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.spec.graph import Graph, Node


def rate_factor(node: Node, parameter: str, rates: Mapping[str, float]) -> float:
    """The factor of a parameter of `node`; `rates`: `optimizer.rates`."""
    group = "bias" if parameter.rpartition(".")[2] == "bias" else "weight"
    names = [node.layer.kind] if node.label is None else [node.label, node.layer.kind]
    keys = [key for name in names for key in (f"{name}.{group}", name)]
    own = node.layer.rates.get(parameter, 1.0)
    return next((rates[key] for key in keys if key in rates), own)


def check_rates(graph: Graph, rates: Mapping[str, float]) -> None:
    """Raise InvalidSpec, with a pointer, for a key that names no layer with parameters."""
    trained = [node for node in graph.nodes if node.layer.parameters]
    names = {name: None for node in trained for name in (node.label, node.layer.kind) if name is not None}
    known = {key for name in names for key in (name, f"{name}.weight", f"{name}.bias")}
    for key in rates:
        if key not in known:
            message = f"no layer with parameters has the name or kind {key!r}; known: {', '.join(map(repr, names))}"
            raise InvalidSpec.at(json_pointer("optimizer", "rates", key), message)
