"""Lowers the architectures for tables to layers: ResNet and TabM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from service.spec.architecture import ResNet, TabM
from service.spec.layers import (
    Activate,
    Add,
    BatchNorm,
    Dropout,
    EnsembleInput,
    EnsembleLinear,
    EnsembleOutput,
    InputLayout,
    Layer,
    Linear,
    Shape,
)


class GraphBuilder(Protocol):
    """A graph that is being built, layer by layer."""

    last: str
    """The name of the last node."""

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of each node's and block's value."""

    def add(self, layer: Layer, inputs: tuple[str, ...], label: str | None = None) -> str:
        """Append a layer; returns its node's name."""


def add_resnet(network: ResNet, building: GraphBuilder, outputs: int) -> None:
    """Append the network after the last node."""
    width, hidden = (network.width,), (network.hidden_width,)

    def norm() -> Layer:
        return BatchNorm(width, network.batch_norm_eps, network.batch_norm_momentum)

    x = _then(building, Linear(building.shapes[building.last], network.width))
    for _ in range(network.blocks):
        _then(building, norm())
        _then(building, Linear(width, network.hidden_width))
        _then(building, Activate(hidden, network.activation))
        _dropout(building, hidden, network.dropout)
        _then(building, Linear(hidden, network.width))
        _dropout(building, width, network.residual_dropout)
        x = building.add(Add(width), (x, building.last))
    _then(building, norm())
    _then(building, Activate(width, network.activation))
    _then(building, Linear(width, outputs))


def add_tabm(network: TabM, building: GraphBuilder, layout: InputLayout, outputs: int) -> None:
    """Append the network after the last node."""
    heads, shape = network.heads, building.shapes[building.last]
    _then(building, EnsembleInput(shape, heads, _draws(layout, shape)))
    for place, width in enumerate(network.hidden):
        full = EnsembleLinear(shape, width, heads, scales_input=place > 0)
        _then(building, full if network.mode == "full" else Linear(shape, width))
        shape = (width,)
        _then(building, Activate(shape, network.activation))
        _dropout(building, shape, network.dropout)
    _then(building, EnsembleOutput(shape, outputs, heads, probabilities=outputs > 1))


def _then(building: GraphBuilder, layer: Layer) -> str:
    """Append a layer after the last node."""
    return building.add(layer, (building.last,))


def _dropout(building: GraphBuilder, shape: Shape, p: float) -> None:
    if p > 0:
        _then(building, Dropout(shape, p))


def _draws(layout: InputLayout, shape: Shape) -> tuple[int, ...]:
    """The draw of each input's sign: the embeddings of a column share one; empty: a draw for each input."""
    return ()
