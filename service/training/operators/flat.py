"""Flat layers of K networks at once, each with forward pass and hand-written gradient.

Activations are (K, B, F) float32, contiguous: member, row, feature; F is padded, and the padding stays 0. Small
networks spend their time in dispatch, so a hand-written backward pass takes half the time of autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from service.engine_constants import PAD, padded
from service.spec import layers as spec
from service.spec.layers import Activation
from service.training.operators.base import Parameter

aten: Any = torch.ops.aten


class Linear:
    """y = x W^T + b; weight: (K, outputs, inputs), bias: (K, outputs).

    `frozen_bias`: the bias gets no gradient. `bf16_matmul`: training rounds factors to bfloat16; evaluation is float32,
    as with the checkpoint.
    """

    def __init__(self, weight: Parameter, bias: Parameter, frozen_bias: bool, *, bf16_matmul: bool) -> None:
        self._weight, self._weight_grad = weight
        self._transposed = self._weight.mT
        self._bias, self._bias_grad = (each.unsqueeze(1) for each in bias)
        self._frozen_bias = frozen_bias
        self._multiply = _bf16_bmm if bf16_matmul else torch.bmm
        self._bf16_matmul = bf16_matmul
        self._x: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        if training:
            self._x = x
            if self._bf16_matmul:
                return _bf16_bmm(x, self._transposed).add_(self._bias)
        return torch.baddbmm(self._bias, x, self._transposed)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        self.backward_parameters(grad)
        return self._multiply(grad, self._weight)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        # bmm with out= into the strided gradient matrix would loop over the members, which takes longer.
        self._weight_grad.copy_(self._multiply(grad.mT, self._x))
        if not self._frozen_bias:
            torch.sum(grad, 1, keepdim=True, out=self._bias_grad)


def _bf16_bmm(one: Tensor, other: Tensor) -> Tensor:
    """torch.bmm with factors rounded to bfloat16; the result is float32."""
    return torch.bmm(to_bf16(one), to_bf16(other)).float()


def to_bf16(x: Tensor) -> Tensor:
    """`x` rounded to bfloat16: of dtype bfloat16 on a GPU, which multiplies these faster; float32 on a CPU.

    Bfloat16 products on a CPU gave a member other bits in an array than alone.
    """
    return x.bfloat16() if x.is_cuda else x.bfloat16().float()


class BatchNorm:
    """Batch normalization over the rows of each member; all parameters and statistics: (K, F).

    Written by hand: PyTorch's kernel needs the layout (B, K * F), and the copies to that layout and back cost more than
    the kernel saves.
    """

    def __init__(
        self, scale: Parameter, shift: Parameter, mean: Tensor, variance: Tensor, layer: spec.BatchNorm
    ) -> None:
        self._scale, self._scale_grad = (each.unsqueeze(1) for each in scale)
        self._shift, self._shift_grad = (each.unsqueeze(1) for each in shift)
        self._mean, self._variance = mean.unsqueeze(1), variance.unsqueeze(1)
        self._layer = layer
        self._saved: tuple[Tensor, Tensor, Tensor]
        self.batches_averaged: int | None = None

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        if not training and self.batches_averaged is None:
            factor = (self._variance + self._layer.eps).rsqrt_().mul_(self._scale)
            return torch.addcmul(self._shift, x - self._mean, factor)
        rows = x.shape[1]
        mean = x.mean(1, keepdim=True)
        centred = x - mean
        variance = centred.square().mean(1, keepdim=True)
        inverse = (variance + self._layer.eps).rsqrt_()
        factor = inverse * self._scale
        if training:
            self._saved = centred, inverse, factor
        share = self._layer.momentum if self.batches_averaged is None else 1 / (self.batches_averaged + 1)
        self._mean.lerp_(mean, share)
        self._variance.lerp_(variance.mul_(rows / (rows - 1)), share)
        return torch.addcmul(self._shift, centred, factor)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator.

        With n = (x - mean) / std, the gradient of x is (g - mean(g) - n mean(g n)) scale / std.
        """
        centred, inverse, factor = self._saved
        torch.sum(grad, 1, keepdim=True, out=self._shift_grad)
        weighed = (grad * centred).sum(1, keepdim=True).mul_(inverse)
        self._scale_grad.copy_(weighed)
        share = -1.0 / grad.shape[1]
        along = torch.addcmul(grad, centred, weighed.mul_(inverse), value=share)
        return along.add_(self._shift_grad * share).mul_(factor)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self.backward(grad)


class LayerNorm:
    """Layer normalization of each row over all of its values; scale and shift: (K, *shape)."""

    def __init__(self, scale: Parameter, shift: Parameter, layer: spec.LayerNorm) -> None:
        self._layer, self._values = layer, layer.inputs
        self._scale, self._scale_grad = (self._row(each) for each in scale)
        self._shift, self._shift_grad = (self._row(each) for each in shift)
        self._saved: tuple[Tensor, Tensor, Tensor, Tensor]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        rows = self._cropped(x)
        normalized, mean, inverse = torch.native_layer_norm(rows, [self._values], None, None, self._layer.eps)
        if training:
            self._saved = rows, normalized, mean, inverse
        # Two roundings: a fused kernel rounds differently where the row's length leaves a remainder.
        return self._like(x, (normalized * self._scale).add_(self._shift))

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        rows, normalized, mean, inverse = self._saved
        own = self._cropped(grad)
        self._shift_grad.copy_(own.sum(1, keepdim=True))
        self._scale_grad.copy_((own * normalized).sum(1, keepdim=True))
        x_grad, _, _ = aten.native_layer_norm_backward(
            own * self._scale, rows, [self._values], mean, inverse, None, None, [True, False, False]
        )
        return self._like(grad, x_grad)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self.backward(grad)

    def _row(self, parameter: Tensor) -> Tensor:
        """(K, *padded shape) -> a view (K, 1, values)."""
        return parameter.view(len(parameter), 1, -1)[..., : self._values]

    def _cropped(self, x: Tensor) -> Tensor:
        """(K, B, *shape or padded features) -> (K, B, values), contiguous."""
        return x.flatten(2)[..., : self._values].contiguous()

    def _like(self, x: Tensor, values: Tensor) -> Tensor:
        """(K, B, values) in the shape of `x`."""
        return F.pad(values, (0, x[0, 0].numel() - self._values)).view(x.shape)


# Per activation: y = f(x), and the gradient of x from (gradient of y, x, y); PyTorch's kernels and constants.
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
    """An element-wise activation function on rows of `shape`."""

    def __init__(self, function: Activation, shape: spec.Shape) -> None:
        self._function, self._gradient = _FUNCTIONS[function]
        # Padding must stay 0, and sigmoid(0) is not.
        self._width = shape[0] if function is Activation.sigmoid and len(shape) == 1 else None
        self._saved: tuple[Tensor, Tensor]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        aligned = _aligned(x)
        y = self._function(aligned)
        if self._width is not None:
            y[..., self._width :] = 0.0
        if training:
            self._saved = aligned, y
        return _unaligned(y, x)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return _unaligned(self._gradient(_aligned(grad), *self._saved), grad)


def _aligned(x: Tensor) -> Tensor:
    """x, padded to (K, padded values) where a member's values would leave a remainder in an element-wise kernel.

    Contiguous, because GELU has another kernel, with other rounding, for other layouts.
    """
    values = x[0].numel()
    return F.pad(x.flatten(1), (0, padded(values) - values)) if values % PAD else x.contiguous()


def _unaligned(y: Tensor, like: Tensor) -> Tensor:
    """Undo `_aligned`."""
    return y if y.shape == like.shape else y[:, : like[0].numel()].reshape(like.shape)


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
        masks = [
            torch.empty_like(values).bernoulli_(keep, generator=generator).div_(keep)
            for values, keep, generator in zip(x, self._keep, self.generators, strict=True)
        ]
        self._mask = torch.stack(masks)
        return x * self._mask

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return grad * self._mask
