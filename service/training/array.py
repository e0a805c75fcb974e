"""K networks of one shape, trained as one batched computation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec import layers as spec
from service.training.image_layers import ChannelNorm, Convolution, Flatten, Pool, Unflatten
from service.training.layers import Activate, BatchNorm, Dropout, LayerNorm, Linear, Operator, Parameter, Trained
from service.training.weights import Layout, State, Weights


class Array:
    """The weights of K members, their gradient (K, P), and a copy of each member's best weights."""

    def __init__(
        self,
        layers: Sequence[Sequence[spec.Layer]],
        states: Sequence[State],
        device: torch.device,
        rounded: bool = False,
        trained: bool = True,
    ) -> None:
        """Each member's layers, which may differ in their dropout's probability, and its first weights.

        `rounded`: products of training round their factors to bfloat16. `trained`: false for one that is only to
        answer, which has neither a gradient nor best weights, and so a third of the memory.
        """
        self._rounded, self._trained = rounded, trained
        self.inputs, self.outputs = layers[0][0].inputs, layers[0][-1].outputs
        self._layers = list(layers)
        self._layout = Layout(layers[0])
        self._weights = Weights(self._layout, len(states), device)
        for member, state in enumerate(states):
            self._weights.load(member, state)
        self._best = self._weights.of(range(len(states))) if trained else self._weights
        self._connect()

    @property
    def size_bytes(self) -> int:
        """Memory of the present weights and running statistics."""
        held = (self._weights.parameters, *self._weights.buffers.values())
        return sum(tensor.element_size() * tensor.nelement() for tensor in held)

    @property
    def parameters(self) -> Tensor:
        """(K, P) float32: a row is a member."""
        return self._weights.parameters

    @property
    def decayed(self) -> Tensor:
        """(1, P) float32: 1 at the weights of linear layers and convolutions, else 0."""
        weights = [
            f"layers.{place}.weight"
            for place, layer in enumerate(self._layers[0])
            if isinstance(layer, spec.Linear | spec.Convolution)
        ]
        return self._mask(weights)

    def named(self, matrix: Tensor) -> State:
        """Views of each parameter's part of a matrix shaped as `parameters`, without padding: (K, *shape)."""
        return self._layout.named(matrix)

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
        for operator in reversed(self._operators[self._first_trained + 1 :]):
            grad = operator.backward(grad)
        first = self._operators[self._first_trained]
        assert isinstance(first, Trained)
        first.backward_parameters(grad)

    @property
    def draws(self) -> bool:
        """Whether a step of training draws random numbers."""
        return any(isinstance(operator, Dropout) for operator in self._operators)

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

    def load_best(self, member: int, state: State) -> None:
        """Take over a state dict as the member's best."""
        self._best.load(member, state)

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
        # Without training, zeros that take no memory stand for it.
        shape = self.parameters.shape
        self.gradient = torch.zeros_like(self.parameters) if self._trained else torch.zeros(1, 1).expand(shape)
        places = list(zip(*self._layers, strict=True))  # the same layer of every member
        pairs = zip(places, [*places[1:], (None,)], strict=True)
        self._operators = [
            self._operator(f"layers.{i}", layers, following[0]) for i, (layers, following) in enumerate(pairs)
        ]
        self._first_trained = next(i for i, layer in enumerate(self._layers[0]) if layer.parameters)

    def _operator(self, name: str, layers: Sequence[spec.Layer], following: spec.Layer | None) -> Operator:
        match layer := layers[0]:
            case spec.Linear():
                # The batch norm takes the mean away, so its true gradient is zero; Adam would turn rounding into steps.
                return Linear(*self._pair(name), held=isinstance(following, spec.BatchNorm), rounded=self._rounded)
            case spec.Convolution():
                held = isinstance(following, spec.BatchNorm)
                return Convolution(*self._pair(name), held=held, rounded=self._rounded, layer=layer)
            case spec.BatchNorm():
                mean, variance = (self._weights.buffers[f"{name}.{part}"] for part in ("running_mean", "running_var"))
                norm = BatchNorm if len(layer.shape) == 1 else ChannelNorm
                return norm(*self._pair(name), mean, variance, layer)
            case spec.LayerNorm():
                return LayerNorm(*self._pair(name), layer)
            case spec.Pool():
                return Pool(layer)
            case spec.Flatten():
                return Flatten(layer.shape)
            case spec.Unflatten():
                return Unflatten(layer.to)
            case spec.Activate():
                return Activate(layer.function, layer.shape)
            case spec.Dropout():
                return Dropout([each.p for each in layers if isinstance(each, spec.Dropout)])

    def _pair(self, name: str) -> tuple[Parameter, Parameter]:
        """Weight and bias of a layer."""
        weight, bias = (self._layout.parameters[f"{name}.{part}"] for part in ("weight", "bias"))
        return (
            Parameter(weight.of(self.parameters), weight.of(self.gradient)),
            Parameter(bias.of(self.parameters), bias.of(self.gradient)),
        )
