"""An array of K networks with the same layer shapes, computed as one batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec import layers as spec
from service.training.image_layers import ChannelNorm, Convolution, Flatten, Pool, Unflatten
from service.training.layers import Activate, BatchNorm, Dropout, LayerNorm, Linear, Operator, Parameter, Trained
from service.training.weights import Layout, State, Weights


class NetworkArray:
    """The weights of K networks (members), their gradient (K, P), and a copy of each member's best weights."""

    def __init__(
        self,
        layers: Sequence[Sequence[spec.Layer]],
        states: Sequence[State],
        device: torch.device,
        bf16_matmul: bool = False,
        trained: bool = True,
    ) -> None:
        """Each member's layers, which may differ only in dropout probabilities, and its initial weights.

        `bf16_matmul`: training rounds the factors of matrix products to bfloat16. `trained`: False for inference,
        without gradient and best weights, which takes a third of the memory.
        """
        self._bf16_matmul, self._trained = bf16_matmul, trained
        self.inputs, self.outputs = layers[0][0].inputs, layers[0][-1].outputs
        self._layers = list(layers)
        self._layout = Layout(layers[0])
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
    def parameters(self) -> Tensor:
        """(K, P) float32: one row per member."""
        return self._weights.parameters

    @property
    def decayed(self) -> Tensor:
        """(1, P) float32 mask of weight decay: 1 for weights of linear layers and convolutions, else 0."""
        weights = [
            f"layers.{place}.weight"
            for place, layer in enumerate(self._layers[0])
            if isinstance(layer, spec.Linear | spec.Convolution)
        ]
        return self._mask(weights)

    def named(self, matrix: Tensor) -> State:
        """Views of each parameter in a matrix like `parameters`, without padding: (K, *shape)."""
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
        """Compute `gradient` after a training forward pass; grad: (K, B, padded outputs), of the outputs."""
        for operator in reversed(self._operators[self._first_trained + 1 :]):
            grad = operator.backward(grad)
        first = self._operators[self._first_trained]
        assert isinstance(first, Trained)
        first.backward_parameters(grad)

    @property
    def draws(self) -> bool:
        """Whether a training step draws random numbers."""
        return any(isinstance(operator, Dropout) for operator in self._operators)

    def draw_dropout_from(self, generators: list[Generator]) -> None:
        """Set each member's generator of dropout masks."""
        for operator in self._operators:
            if isinstance(operator, Dropout):
                operator.generators = generators

    def part(self, members: slice) -> NetworkArray:
        """These members as an array that shares their weights, statistics and gradient, until `keep` is called.

        Its best weights are not to be used.
        """
        first, end, _ = members.indices(len(self._layers))
        if (first, end) == (0, len(self._layers)):
            return self
        if (first, end) not in self._parts:
            part = copy(self)
            part._layers, part._weights = self._layers[members], self._weights.part(members)
            part._connect(self.gradient[members])
            self._parts[first, end] = part
        return self._parts[first, end]

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order."""
        self._layers = [self._layers[member] for member in members]
        self._weights, self._best = self._weights.of(members), self._best.of(members)
        self._connect(self._no_gradient())

    def keep_best(self, members: Sequence[int]) -> None:
        """Copy the current weights and running statistics of these members as their best."""
        self._best.copy_rows(self._weights, members)

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
        places = list(zip(*self._layers, strict=True))  # the same layer of every member
        pairs = zip(places, [*places[1:], (None,)], strict=True)
        self._operators = [
            self._operator(f"layers.{i}", layers, following[0]) for i, (layers, following) in enumerate(pairs)
        ]
        self._first_trained = next(i for i, layer in enumerate(self._layers[0]) if layer.parameters)

    def _operator(self, name: str, layers: Sequence[spec.Layer], following: spec.Layer | None) -> Operator:
        match layer := layers[0]:
            case spec.Linear():
                # Batch norm removes the bias, so its true gradient is zero; Adam would amplify the rounding error.
                frozen = isinstance(following, spec.BatchNorm)
                return Linear(*self._pair(name), frozen_bias=frozen, bf16_matmul=self._bf16_matmul)
            case spec.Convolution():
                frozen = isinstance(following, spec.BatchNorm)
                return Convolution(*self._pair(name), frozen_bias=frozen, bf16_matmul=self._bf16_matmul, layer=layer)
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
