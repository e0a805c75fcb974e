"""K networks of one shape, trained as one batched computation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from service.spec import layers as spec
from service.training.layers import Activate, BatchNorm, Dropout, Linear, Operator, Parameter
from service.training.weights import Layout, State, Weights, padded


class Array:
    """The weights of K members, their gradient (K, P), and a copy of each member's best weights."""

    def __init__(self, layers: Sequence[Sequence[spec.Layer]], states: Sequence[State], device: torch.device) -> None:
        """Each member's layers, which may differ in their dropout's probability, and its first weights."""
        self.inputs, self.outputs = layers[0][0].inputs, layers[0][-1].outputs
        self._layers = list(layers)
        self._layout = Layout(layers[0])
        self._weights = Weights(self._layout, len(states), device)
        for member, state in enumerate(states):
            self._weights.load(member, state)
        self._best = self._weights.of(range(len(states)))
        self._connect()

    @property
    def parameters(self) -> Tensor:
        """(K, P) float32: a row is a member."""
        return self._weights.parameters

    @property
    def decayed(self) -> Tensor:
        """(1, P) float32: 1 at the weights of linear layers, else 0."""
        return self._mask(key for key, block in self._layout.parameters.items() if len(block.shape) == 2)

    def pad(self, x: Tensor) -> Tensor:
        """x: (..., inputs) -> (..., padded inputs)."""
        return F.pad(x, (0, padded(self.inputs) - self.inputs))

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Logits or standardized predictions; x: (K, B, padded inputs) float32 -> (K, B, padded outputs)."""
        for operator in self._operators:
            x = operator.forward(x, training)
        if training:
            self._weights.batches += 1
        return x

    def backward(self, grad: Tensor) -> None:
        """Fill `gradient` after a forward pass in training; grad: (K, B, padded outputs), of the loss at the logits."""
        first, *others = self._operators
        for operator in reversed(others):
            grad = operator.backward(grad)
        assert isinstance(first, Linear)
        first.backward_parameters(grad)

    def draw_dropout_from(self, generators: list[Generator]) -> None:
        """Each member's source of dropout masks from now on."""
        for operator in self._operators:
            if isinstance(operator, Dropout):
                operator.generators = generators

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone, in this order."""
        self._layers = [self._layers[member] for member in members]
        self._weights, self._best = self._weights.of(members), self._best.of(members)
        self._connect()

    def keep_best(self, members: Sequence[int]) -> None:
        """Copy the present weights and running statistics of these members."""
        self._best.copy_rows(self._weights, members)

    def state(self, member: int) -> State:
        """The member's present state dict, unpadded copies on the CPU; Network loads it with strict=True."""
        return self._weights.state(member)

    def best_state(self, member: int) -> State:
        """The state dict of the member's last `keep_best`; of its first weights before that."""
        return self._best.state(member)

    def _mask(self, keys: Iterable[str]) -> Tensor:
        mask = torch.zeros_like(self.parameters[:1])
        for key in keys:
            self._layout.parameters[key].inner(mask).fill_(1.0)
        return mask

    def _connect(self) -> None:
        """Make the operators, on views of the present weights."""
        self.gradient = torch.zeros_like(self.parameters)
        places = list(zip(*self._layers, strict=True))  # the same layer of every member
        pairs = zip(places, [*places[1:], (None,)], strict=True)
        self._operators = [
            self._operator(f"layers.{i}", layers, following[0]) for i, (layers, following) in enumerate(pairs)
        ]

    def _operator(self, name: str, layers: Sequence[spec.Layer], following: spec.Layer | None) -> Operator:
        match layer := layers[0]:
            case spec.Linear():
                # The batch norm takes the mean away, so its true gradient is zero; Adam would turn rounding into steps.
                held = isinstance(following, spec.BatchNorm)
                return Linear(self._parameter(f"{name}.weight"), self._parameter(f"{name}.bias"), held)
            case spec.BatchNorm():
                mean, variance = (self._weights.buffers[f"{name}.{part}"] for part in ("running_mean", "running_var"))
                scale, shift = self._parameter(f"{name}.weight"), self._parameter(f"{name}.bias")
                return BatchNorm(scale, shift, mean, variance, layer)
            case spec.Activate():
                return Activate(layer.function, layer.inputs)
            case spec.Dropout():
                return Dropout([each.probability for each in layers if isinstance(each, spec.Dropout)])

    def _parameter(self, key: str) -> Parameter:
        block = self._layout.parameters[key]
        return Parameter(block.of(self.parameters), block.of(self.gradient))
