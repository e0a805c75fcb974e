"""Parameters and buffers of K networks with the same layer shapes: a (K, P) matrix, one row per member.

The width of each flat layer is padded with zeros to a multiple of 32 floats: two AVX-512 registers, which PyTorch's
element-wise kernels process at a time. So no value of a member falls into a kernel's scalar remainder, whatever K is,
and its result is bit-identical to that of the same network alone (on the CPU, with one thread). Layers for sequences
and images loop over the members; there each parameter as a whole is padded to such a multiple.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from service.engine_constants import padded
from service.spec.graph import Graph
from service.training.models import build
from service.training.operators import FAST

State = dict[str, Tensor]


def _crop(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Remove the padding; rows: (K, *padded shape) -> (K, *shape), a view."""
    for dimension, width in enumerate(shape, start=1):
        rows = rows.narrow(dimension, 0, width)
    return rows


@dataclass(frozen=True)
class Block:
    """Position of a parameter in each row of a (K, P) matrix, and its shape in the state dict."""

    offset: int
    shape: tuple[int, ...]
    padded: tuple[int, ...]  # the shape in the matrix

    @property
    def end(self) -> int:
        """Where the next block starts."""
        return self.offset + padded(prod(self.padded))

    def of(self, matrix: Tensor) -> Tensor:
        """A view of this block; matrix: (K, P) -> (K, *padded)."""
        return matrix[:, self.offset : self.offset + prod(self.padded)].view(-1, *self.padded)

    def inner(self, matrix: Tensor) -> Tensor:
        """A view of this block without its padding; (K, *shape)."""
        return _crop(self.of(matrix), self.shape)


class Layout:
    """Positions of the parameters and buffers of a graph, by their keys in Network's state dict."""

    def __init__(self, graph: Graph) -> None:
        with torch.device("meta"):
            network = build(graph)
        self._flat = {
            node.name: FAST[type(node.layer)]
            for node in graph.nodes
            if len(node.layer.shape) == 1 and type(node.layer) in FAST
        }
        self.parameters: dict[str, Block] = {}
        self.columns = 0
        for key, parameter in network.named_parameters():
            shape = tuple(parameter.shape)
            self.parameters[key] = Block(self.columns, shape, self._padded(key, shape))
            self.columns = self.parameters[key].end
        self.buffers = {key: tuple(buffer.shape) for key, buffer in network.named_buffers()}
        self.padded_buffers = {key: self._padded(key, shape) for key, shape in self.buffers.items()}

    def _padded(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a parameter or buffer in the array: flat layers with their own operator are padded."""
        node, _, name = key.rpartition(".")
        unpadded = self._flat[node].unpadded_of(name) if node in self._flat else len(shape)
        return (*shape[:unpadded], *map(padded, shape[unpadded:]))

    def of_node(self, name: str) -> dict[str, Block]:
        """The parameters of one node, by their names in its module."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): block for key, block in self.parameters.items() if key.startswith(prefix)}

    def named(self, matrix: Tensor) -> State:
        """Views of each parameter in a (K, P) matrix, without padding: (K, *shape)."""
        return {key: block.inner(matrix) for key, block in self.parameters.items()}


class Weights:
    """The parameters (K, P) float32 and the buffers of K networks, e.g. a running mean (K, F padded)."""

    def __init__(self, layout: Layout, size: int, device: torch.device) -> None:
        self.layout = layout
        self.parameters = torch.zeros(size, layout.columns, device=device)
        # num_batches_tracked, which is equal for all batch norms of a member
        self.batches = torch.zeros(size, dtype=torch.int64, device=device)
        self.buffers = {
            key: torch.ones(size, *shape, device=device) if shape else self.batches
            for key, shape in layout.padded_buffers.items()
        }

    @property
    def tensors(self) -> list[Tensor]:
        """The parameters and each buffer, once."""
        return [own for own, _ in self._pairs(self)]

    def named(self) -> State:
        """Views without padding, by key in the state dict: (K, *shape)."""
        named = self.layout.named(self.parameters)
        for key, shape in self.layout.buffers.items():
            named[key] = _crop(self.buffers[key], shape)
        return named

    def load(self, member: int, state: State) -> None:
        """Load a state dict of Network into a member."""
        for key, values in self.named().items():
            values[member] = state[key]

    def state(self, member: int) -> State:
        """A member's state dict: copies on the CPU, for Network.load_state_dict(strict=True)."""
        return {
            key: values[member].cpu().clone(memory_format=torch.contiguous_format)
            for key, values in self.named().items()
        }

    def of(self, members: Sequence[int]) -> Weights:
        """A copy of these members, in this order."""
        copied = Weights(self.layout, len(members), self.parameters.device)
        rows = torch.tensor(members, device=self.parameters.device)
        for own, other in self._pairs(copied):
            other.copy_(own[rows])
        return copied

    def part(self, members: slice) -> Weights:
        """These members, in the same memory."""
        part = copy(self)
        part.parameters, part.batches = self.parameters[members], self.batches[members]
        part.buffers = {
            key: part.batches if values is self.batches else values[members] for key, values in self.buffers.items()
        }
        return part

    def placed(self, parameters: Tensor) -> Weights:
        """The same buffers with `parameters` (K, P)."""
        placed = copy(self)
        placed.parameters = parameters
        return placed

    def copy_rows(self, source: Weights, members: Sequence[int]) -> None:
        """Copy these members from `source`."""
        if not members:
            return
        rows = torch.tensor(members, device=self.parameters.device)
        for own, other in self._pairs(source):
            own[rows] = other[rows]

    def blend(self, source: Weights, share: Tensor) -> None:
        """Move parameters and running statistics by `share` (K, 1) of the way to those of `source`; 1 copies them."""
        for own, other in self._pairs(source):
            if own.is_floating_point():
                own.lerp_(other, share.view(-1, *[1] * (own.ndim - 1)))
            else:
                own.copy_(other)

    def _pairs(self, other: Weights) -> list[tuple[Tensor, Tensor]]:
        """Pairs of corresponding tensors; num_batches_tracked is one tensor under several keys."""
        buffers = {id(self.buffers[key]): (self.buffers[key], other.buffers[key]) for key in self.buffers}
        return [(self.parameters, other.parameters), *buffers.values()]
