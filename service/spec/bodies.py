"""Lowers the architectures for tables to layers: ResNet, TabM and FT-Transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from service.errors import InvalidSpec
from service.spec.architecture import FtTransformer, ResNet, TabM
from service.spec.graph import CODES, NUMBERS
from service.spec.layers import (
    COMPONENTS,
    Activate,
    Activation,
    Add,
    BatchNorm,
    Dropout,
    EnsembleInput,
    EnsembleLinear,
    EnsembleOutput,
    FeatureTokenizer,
    InputLayout,
    Layer,
    LayerNorm,
    Linear,
    Shape,
    TransformerBlock,
)
from service.spec.layers.base import MAX_VALUES


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


def add_ft_transformer(network: FtTransformer, building: GraphBuilder, layout: InputLayout, outputs: int) -> None:
    """Append the network on the data's numbers and codes. Raises InvalidSpec with a pointer to a field out of range."""
    tokenizer = FeatureTokenizer((layout.numbers,), layout.categories, network.width)
    _check_sizes(network, tokenizer)
    present = [name for name, columns in ((NUMBERS, layout.numbers), (CODES, len(layout.categories))) if columns]
    building.add(tokenizer, tuple(present))
    for place in range(network.blocks):
        block = TransformerBlock(
            tokenizer.output_shape,
            network.attention_heads,
            network.ffn_width,
            network.ffn_activation,
            norm=place > 0,
            first_token=place == network.blocks - 1,
            attention_dropout=network.attention_dropout,
            ffn_dropout=network.ffn_dropout,
            residual_dropout=network.residual_dropout,
        )
        _then(building, block)
    shape = (network.width,)
    _then(building, LayerNorm(shape))
    _then(building, Activate(shape, Activation.relu))
    _then(building, Linear(shape, outputs))


def _check_sizes(network: FtTransformer, tokenizer: FeatureTokenizer) -> None:
    tokens = tokenizer.output_shape[0]
    if network.width % network.attention_heads:
        message = f"the width, {network.width}, is no multiple of {network.attention_heads} attention heads"
        raise InvalidSpec.at("/architecture/attention_heads", message)
    if tokenizer.outputs > MAX_VALUES:
        message = f"{tokens:,} tokens of {network.width:,} values are {tokenizer.outputs:,} values a row"
        raise InvalidSpec.at("/architecture/width", f"{message}; at most {MAX_VALUES:,} are allowed")
    weights = network.attention_heads * tokens * tokens
    if weights > MAX_VALUES:
        message = (
            f"attention between {tokens:,} tokens has {weights:,} weights a row; at most {MAX_VALUES:,} are allowed"
        )
        raise InvalidSpec.at("/architecture/attention_heads", message)


def _then(building: GraphBuilder, layer: Layer) -> str:
    """Append a layer after the last node."""
    return building.add(layer, (building.last,))


def _dropout(building: GraphBuilder, shape: Shape, p: float) -> None:
    if p > 0:
        _then(building, Dropout(shape, p))


def _draws(layout: InputLayout, shape: Shape) -> tuple[int, ...]:
    """The draw of each input's sign: a column and its embedding share one; empty: a draw for each input.

    The inputs are those of `tabular_inputs`: numbers, periodic embeddings if any, embeddings of codes if any.
    """
    draws = list(range(layout.numbers))
    if shape[0] > layout.numbers + sum(layout.embedding_sizes):
        draws += [column for column in layout.scaled for _ in range(COMPONENTS)]
    for place, size in enumerate(layout.embedding_sizes):
        draws += [layout.numbers + place] * size
    return tuple(draws) if len(draws) > layout.numbers else ()
