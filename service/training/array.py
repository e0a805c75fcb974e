"""An array of K networks with the same layer shapes, computed as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec.graph import Graph, Node
from service.spec.layers import Layer
from service.spec.rate_factors import rate_factor
from service.training.dispatch import Dispatch
from service.training.operators import operator_of
from service.training.operators.base import MergeOperator, Operator, Parameter, Random, Slots, Statistics
from service.training.weights import Layout, State, Weights


class NetworkArray:
    """The weights of K networks (members), their gradient (K, P), and a copy of each member's best weights."""

    def __init__(
        self,
        graphs: Sequence[Graph],
        states: Sequence[State],
        device: torch.device,
        bf16_matmul: bool = False,
        trained: bool = True,
    ) -> None:
        """Each member's graph, which may differ only in dropout probabilities, and its initial weights.

        `bf16_matmul`: training rounds the factors of matrix products to bfloat16. `trained`: False for inference,
        without gradient and best weights, which takes a third of the memory.
        """
        self._bf16_matmul, self._trained = bf16_matmul, trained
        self._sum_over_ranks: Callable[[Tensor], Tensor] | None = None
        self.graph = graphs[0]
        self.inputs, self.outputs = self.graph.layout.numbers, self.graph.outputs
        self._graphs = list(graphs)
        self._layout = Layout(self.graph)
        self._weights = Weights(self._layout, len(states), device)
        for member, state in enumerate(states):
            self._weights.load(member, state)
        self._best = self._weights.of(range(len(states))) if trained else self._weights
        self._connect(self._no_gradient())

    @property
    def size_bytes(self) -> int:
        """Memory of the current weights and running statistics."""
        tensors = (self._weights.parameters, *self._weights.buffers.values())
        return sum(tensor.element_size() * tensor.nelement() for tensor in tensors)

    @property
    def weights(self) -> Weights:
        """The current weights and running statistics."""
        return self._weights

    @property
    def parameters(self) -> Tensor:
        """(K, P) float32: one row per member."""
        return self._weights.parameters

    @property
    def decayed(self) -> Tensor:
        """(1, P) float32 mask of weight decay: 1 for the parameters that it applies to (`Layer.decayed`), else 0."""
        return self._mask(f"{node.name}.{name}" for node in self.graph.nodes for name in node.layer.decayed)

    def rate_factors(self, rates: Mapping[str, float]) -> Tensor | None:
        """(1, P) factors of the learning rate; None where all are 1. `rates`: `optimizer.rates`."""
        factors = {
            f"{node.name}.{name}": rate_factor(node, name, rates)
            for node in self.graph.nodes
            for name in self._layout.of_node(node.name)
        }
        if all(factor == 1.0 for factor in factors.values()):
            return None
        matrix = torch.ones_like(self.parameters[:1])
        for key, factor in factors.items():
            self._layout.parameters[key].inner(matrix).fill_(factor)
        return matrix

    def named(self, matrix: Tensor) -> State:
        """Views of each parameter in a matrix like `parameters`, without padding: (K, *shape)."""
        return self._layout.named(matrix)

    def pad(self, x: Tensor) -> Tensor:
        """x: (..., inputs) -> (..., padded inputs)."""
        return F.pad(x, (0, padded(self.inputs) - self.inputs))

    def forward(self, x: Tensor, training: bool, codes: Tensor | None = None) -> Tensor:
        """Logits or standardized predictions, (K, B, padded outputs) float32.

        x: (K, B, padded inputs) float32; codes: (K, B, coded columns) int64, where the graph has such columns.
        """
        y = self._dispatch.forward(x, codes, training)
        if training:
            self._weights.batches += 1
        return y

    def backward(self, grad: Tensor) -> None:
        """Compute `gradient` after a training forward pass; grad: (K, B, padded outputs), of the outputs."""
        self._dispatch.backward(grad)

    @property
    def draws(self) -> bool:
        """Whether a training step draws random numbers."""
        return any(isinstance(operator, Random) for operator in self._operators)

    def draw_dropout_from(self, generators: list[Generator]) -> None:
        """Set each member's generator of dropout masks."""
        for operator in self._operators:
            if isinstance(operator, Random):
                operator.generators = generators

    def part(self, members: slice) -> NetworkArray:
        """These members as an array that shares their weights, statistics and gradient, until `keep` is called.

        Its best weights are not to be used.
        """
        first, end, _ = members.indices(len(self._graphs))
        if (first, end) == (0, len(self._graphs)):
            return self
        if (first, end) not in self._parts:
            part = copy(self)
            part._graphs, part._weights = self._graphs[members], self._weights.part(members)
            part._connect(self.gradient[members])
            self._parts[first, end] = part
        return self._parts[first, end]

    def evaluating(self, weights: Weights) -> NetworkArray:
        """The same networks with other weights, for evaluation."""
        array = copy(self)
        array._weights, array._trained = weights, False
        array._connect(array._no_gradient())
        return array

    def synchronized(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> NetworkArray:
        """The same networks, with batch normalization by the batches of all ranks together."""
        array = copy(self)
        array._sum_over_ranks = sum_over_ranks
        array._connect(self.gradient)
        return array

    def placed(self, parameters: Tensor, gradient: Tensor) -> NetworkArray:
        """The same networks with parameters and gradient in this memory, (K, P) each, which nothing is copied to."""
        array = copy(self)
        array._weights = self._weights.placed(parameters)
        array._connect(gradient)
        return array

    @property
    def norms(self) -> list[Statistics]:
        """The operators with running statistics."""
        return [operator for operator in self._operators if isinstance(operator, Statistics)]

    def estimate(self, x: Tensor, codes: Tensor | None, batches: int) -> None:
        """Update the running statistics to the mean over so many earlier batches and this one, without dropout.

        x and codes: see `forward`.
        """
        for norm in self.norms:
            norm.batches_averaged = batches
        self.forward(x, training=False, codes=codes)
        for norm in self.norms:
            norm.batches_averaged = None

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order."""
        self._graphs = [self._graphs[member] for member in members]
        self._weights, self._best = self._weights.of(members), self._best.of(members)
        self._connect(self._no_gradient())

    def keep_best(self, members: Sequence[int], source: Weights | None = None) -> None:
        """Copy the weights and running statistics of these members as their best; `source`: of others than its own."""
        self._best.copy_rows(self._weights if source is None else source, members)

    def load_best(self, member: int, state: State) -> None:
        """Load a state dict as the member's best weights."""
        self._best.load(member, state)

    def state(self, member: int) -> State:
        """The member's current state dict: unpadded copies on the CPU, for Network.load_state_dict(strict=True)."""
        return self._weights.state(member)

    def best_state(self, member: int) -> State:
        """The state dict of the member's last `keep_best`; its initial weights before that."""
        return self._best.state(member)

    def _mask(self, keys: Iterable[str]) -> Tensor:
        mask = torch.zeros_like(self.parameters[:1])
        for key in keys:
            self._layout.parameters[key].inner(mask).fill_(1.0)
        return mask

    def _no_gradient(self) -> Tensor:
        # Without training, an expanded zero takes no memory.
        shape = self.parameters.shape
        return torch.zeros_like(self.parameters) if self._trained else torch.zeros(1, 1).expand(shape)

    def _connect(self, gradient: Tensor) -> None:
        """Create the operators on views of the current weights."""
        self.gradient = gradient
        self._parts: dict[tuple[int, int], NetworkArray] = {}
        self._operators = [
            self._operator(node, places) for node, places in zip(self.graph.nodes, self._places(), strict=True)
        ]
        self._dispatch = Dispatch(self.graph, self._operators)

    def _places(self) -> list[tuple[Layer, ...]]:
        """The same layer of every member, for each place."""
        return list(zip(*(graph.layers for graph in self._graphs), strict=True))

    def _operator(self, node: Node, layers: Sequence[Layer]) -> Operator | MergeOperator:
        blocks, prefix = self._layout.of_node(node.name), f"{node.name}."
        return operator_of(
            Slots(
                layers,
                {name: Parameter(b.of(self.parameters), b.of(self.gradient)) for name, b in blocks.items()},
                {
                    key.removeprefix(prefix): buffer
                    for key, buffer in self._weights.buffers.items()
                    if key.startswith(prefix)
                },
                [self.graph.shape_of(name) for name in node.inputs],
                node.name in self.graph.frozen_biases,
                self._bf16_matmul,
                self.parameters.is_cuda,
                self._sum_over_ranks,
            )
        )
