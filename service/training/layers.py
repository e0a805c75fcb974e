"""The layers of K networks at once, each with its forward pass and its gradient written out.

Values between layers are (B, K, F) float32, contiguous: row, member, feature. A hand-written backward pass
takes half the time of autograd's here, because small networks spend their time in dispatch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from service.spec import layers as spec
from service.spec.architecture import Activation

aten: Any = torch.ops.aten


class Operator(Protocol):
    """One layer of K networks."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """The layer's values; x: (B, K, inputs) -> (B, K, outputs). Training remembers what `backward` needs."""
        ...

    def backward(self, grad: Tensor) -> Tensor:
        """Write the gradients of the layer's parameters; (B, K, outputs) -> (B, K, inputs), both of the loss."""
        ...


class Parameter(NamedTuple):
    """Views of one parameter of K networks and of its gradient, both (K, *padded shape)."""

    value: Tensor
    grad: Tensor


class Linear:
    """y = x W^T + b; weight: (K, outputs, inputs), bias: (K, outputs). A bias that is `held` gets no gradient."""

    def __init__(self, weight: Parameter, bias: Parameter, held: bool) -> None:
        self._weight, self._weight_grad = weight
        self._transposed = self._weight.mT
        self._bias, self._bias_grad = bias
        self._held = held
        self._rows: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        rows = x.transpose(0, 1)
        if training:
            self._rows = rows
        return _by_row(torch.bmm(rows, self._transposed)).add_(self._bias)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        self.backward_parameters(grad)
        return _by_row(torch.bmm(grad.transpose(0, 1), self._weight))

    def backward_parameters(self, grad: Tensor) -> None:
        """The parameters' gradients alone: all that a first layer needs."""
        rows = grad.transpose(0, 1)
        self._weight_grad.copy_(torch.bmm(rows.mT, self._rows))
        if not self._held:
            torch.sum(rows, 1, out=self._bias_grad)


def _by_row(values: Tensor) -> Tensor:
    """(K, B, F) -> (B, K, F), contiguous. A product written straight into such an order goes member by member."""
    return values.transpose(0, 1).contiguous()


class BatchNorm:
    """Batch normalization of K * F channels in one call; all parameters and statistics: (K, F)."""

    def __init__(
        self, scale: Parameter, shift: Parameter, mean: Tensor, variance: Tensor, layer: spec.BatchNorm
    ) -> None:
        self._scale, self._shift = scale, shift
        self._statistics = mean.view(-1), variance.view(-1)
        self._layer = layer
        self._saved: tuple[Tensor, Tensor, Tensor, Tensor]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        channels = x.view(len(x), -1)
        scale, shift = self._scale.value.reshape(-1), self._shift.value.reshape(-1)
        y, mean, deviation = torch.native_batch_norm(
            channels, scale, shift, *self._statistics, training, self._layer.momentum, self._layer.eps
        )
        if training:
            self._saved = channels, scale, mean, deviation
        return y.view_as(x)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        channels, scale, mean, deviation = self._saved
        x_grad, scale_grad, shift_grad = aten.native_batch_norm_backward(
            grad.view(len(grad), -1),
            channels,
            scale,
            *self._statistics,
            mean,
            deviation,
            True,
            self._layer.eps,
            [True] * 3,
        )
        self._scale.grad.copy_(scale_grad.view_as(self._scale.grad))
        self._shift.grad.copy_(shift_grad.view_as(self._shift.grad))
        channels_grad: Tensor = x_grad.view_as(grad)
        return channels_grad


# Per activation: y = f(x), and the gradient at x from (gradient at y, x, y); PyTorch's own kernels and constants.
_FUNCTIONS: dict[Activation, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    Activation.relu: (torch.relu, lambda g, x, y: aten.threshold_backward(g, y, 0)),
    Activation.leaky_relu: (F.leaky_relu, lambda g, x, y: aten.leaky_relu_backward(g, x, 0.01, False)),
    Activation.elu: (F.elu, lambda g, x, y: aten.elu_backward(g, 1.0, 1, 1, False, x)),
    Activation.gelu: (F.gelu, lambda g, x, y: aten.gelu_backward(g, x)),
    Activation.silu: (F.silu, lambda g, x, y: aten.silu_backward(g, x)),
    Activation.tanh: (torch.tanh, lambda g, x, y: aten.tanh_backward(g, y)),
    Activation.sigmoid: (torch.sigmoid, lambda g, x, y: aten.sigmoid_backward(g, y)),
}


class Activate:
    """An element-wise non-linearity."""

    def __init__(self, function: Activation) -> None:
        self._function, self._gradient = _FUNCTIONS[function]
        self._saved: tuple[Tensor, Tensor]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        y = self._function(x)
        if training:
            self._saved = x, y
        return y

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return self._gradient(grad, *self._saved)


class Dropout:
    """Inverted dropout; each member has its own probability and draws its masks from its own generator."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self._keep = [1.0 - probability for probability in probabilities]
        self.generators: list[Generator] = []
        self._mask: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        if not training:
            return x
        rows, _, width = x.shape
        masks = [
            x.new_empty(rows, width).bernoulli_(keep, generator=generator).div_(keep)
            for keep, generator in zip(self._keep, self.generators, strict=True)
        ]
        self._mask = torch.stack(masks, 1)
        return x * self._mask

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return grad * self._mask
