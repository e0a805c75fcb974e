"""The graph of layers that every architecture is lowered to, in pure Python.

Shape checks, parameter counts, memory estimates, the torch module and the array are computed from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from service.engine_constants import padded
from service.spec.layers import Add, BatchNorm, Convolution, Dropout, InputLayout, Layer, Linear, Shape

NUMBERS, CODES = "numbers", "codes"
BLOCKS = (NUMBERS, CODES)
"""The network's inputs; see InputLayout."""


@dataclass(frozen=True)
class Node:
    """A layer in its place in the graph."""

    name: str
    """`layers.N`: the prefix of its parameters in the state dict."""
    layer: Layer
    inputs: tuple[str, ...]
    """The names of the nodes or blocks whose values the layer takes."""
    label: str | None = None
    """The name that the client gave it."""


@dataclass(frozen=True)
class Graph:
    """Layers in an order in which each comes after its inputs; the last one gives the network's output."""

    layout: InputLayout
    nodes: tuple[Node, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order."""
        return tuple(node.layer for node in self.nodes)

    @property
    def labels(self) -> list[str | None]:
        """The names that the client gave the layers."""
        return [node.label for node in self.nodes]

    @property
    def outputs(self) -> int:
        """Width of the output."""
        return self.nodes[-1].layer.outputs

    @cached_property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(node.layer.parameters for node in self.nodes)

    @cached_property
    def copies(self) -> dict[str, int]:
        """How many copies of each row each node's output has; 1 but in ensembles that share weights."""
        found = dict.fromkeys(BLOCKS, 1)
        for node in self.nodes:
            found[node.name] = node.layer.copies(found[node.inputs[0]])
        return found

    @property
    def heads(self) -> int:
        """How many outputs each row has in training; more than 1 in ensembles that share weights."""
        return self.copies[self.nodes[-1].name]

    @cached_property
    def values_held(self) -> int:
        """Values per row that a training step holds, as the engine pads them.

        An ensemble has few layers and many copies of each row, so gradients and temporary values count, too.
        """
        inner = sum(node.layer.values_held * self.copies[node.name] for node in self.nodes)
        temporary = 8 * max(padded(node.layer.outputs) * self.copies[node.name] for node in self.nodes)
        blocks = padded(self.layout.numbers) + 2 * len(self.layout.categories)
        return blocks + inner + (temporary if self.heads > 1 else 0)

    @cached_property
    def widest(self) -> int:
        """The largest number of values per row that a node's output holds."""
        return max(node.layer.values_held * self.copies[node.name] for node in self.nodes)

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """The nodes that take each node's or block's value."""
        found: dict[str, list[Node]] = {name: [] for name in (*BLOCKS, *(node.name for node in self.nodes))}
        for node in self.nodes:
            for name in node.inputs:
                found[name].append(node)
        return found

    @cached_property
    def frozen_biases(self) -> frozenset[str]:
        """Nodes whose bias gets no gradient, because batch normalization removes it from all that reads it.

        Its true gradient is zero; Adam would amplify the rounding error. In a residual network the bias passes through
        sums before it is removed.
        """
        removed: set[str] = set()  # nodes to whose value a constant may be added without effect
        for node in reversed(self.nodes):
            readers = self.readers[node.name]
            if readers and all(
                isinstance(reader.layer, BatchNorm) or (isinstance(reader.layer, Add) and reader.name in removed)
                for reader in readers
            ):
                removed.add(node.name)
        return frozenset(
            node.name for node in self.nodes if node.name in removed and isinstance(node.layer, Linear | Convolution)
        )

    def shape_of(self, name: str) -> Shape:
        """The shape of a row of a node's output or of a block."""
        shapes = {NUMBERS: (self.layout.numbers,), CODES: (len(self.layout.categories),)}
        return shapes.get(name) or next(node.layer.output_shape for node in self.nodes if node.name == name)

    @property
    def is_chain(self) -> bool:
        """Whether each node takes the value of the one before it, and the first the numbers."""
        names = (NUMBERS, *(node.name for node in self.nodes))
        return all(node.inputs == (name,) for node, name in zip(self.nodes, names, strict=False))

    @cached_property
    def array_key(self) -> list[str]:
        """What networks that train as one array must share: everything but the probabilities of dropout."""
        alike = [replace(layer, p=0.5) if isinstance(layer, Dropout) else layer for layer in self.layers]
        if self.is_chain:
            return list(map(repr, alike))
        return [f"{layer} of {', '.join(node.inputs)}" for layer, node in zip(alike, self.nodes, strict=True)]

    def unread(self) -> Iterator[Node]:
        """Nodes other than the last whose value nothing takes."""
        return (node for node in self.nodes[:-1] if not self.readers[node.name])
