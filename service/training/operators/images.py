"""Layers of K networks for sequences and images, (K, B, channels, length or height, width) float32.

Computation takes longer than dispatch here, so layers with parameters loop over the members: then a member's result
cannot depend on the others. Gradients are written by hand, as calls of PyTorch's own kernels.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec import layers as spec
from service.training.operators.base import Parameter
from service.training.operators.flat import to_bf16

aten: Any = torch.ops.aten


class Convolution:
    """Cross-correlation; weight: (K, outputs, inputs, *kernel), bias: (K, outputs).

    `frozen_bias`: the bias gets no gradient. `bf16_matmul`: as in flat.Linear.
    """

    def __init__(
        self, weight: Parameter, bias: Parameter, frozen_bias: bool, bf16_matmul: bool, layer: spec.Convolution
    ) -> None:
        self._weight, self._bias, self._frozen_bias, self._bf16_matmul = weight, bias, frozen_bias, bf16_matmul
        sides = len(layer.shape) - 1
        # stride, padding, dilation, transposed, output_padding, groups: as torch.convolution takes them
        self._geometry = [layer.stride] * sides, [layer.padding] * sides, [1] * sides, False, [0] * sides, 1
        self._x: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        weights, biases = self._weight.value, self._bias.value
        rounds = training and self._bf16_matmul
        if rounds:
            x = to_bf16(x)
        if training:
            self._x = x
        if not rounds:
            members = zip(x, weights, biases, strict=True)
            return stacked([aten.convolution(*member, *self._geometry) for member in members])
        pairs = zip(x, to_bf16(weights), strict=True)
        y = stacked([aten.convolution(*pair, None, *self._geometry) for pair in pairs]).float()
        return y.add_(biases.view(len(y), 1, -1, *[1] * (y.dim() - 3)))

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return stacked(self._backward(grad, inputs=True)).float()

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self._backward(grad, inputs=False)

    def _backward(self, grad: Tensor, inputs: bool) -> list[Tensor]:
        """Compute the gradients of the parameters; returns each member's gradient of its inputs if `inputs`."""
        wanted, channels = [inputs, True, not self._frozen_bias and not self._bf16_matmul], [grad.shape[2]]
        weights, grads = self._weight.value, grad
        if self._bf16_matmul:
            weights, grads = to_bf16(weights), to_bf16(grads)
        at_inputs = []
        for member, (own, x, weight) in enumerate(zip(grads, self._x, weights, strict=True)):
            x_grad, weight_grad, bias_grad = aten.convolution_backward(
                aligned(own), aligned(x), weight, channels, *self._geometry, wanted
            )
            self._weight.grad[member] = weight_grad
            if wanted[2]:
                self._bias.grad[member] = bias_grad
            elif not self._frozen_bias:  # from the gradient before rounding
                self._bias.grad[member] = grad[member].flatten(2).sum((0, 2))
            at_inputs.append(x_grad)
        return at_inputs


def aligned(x: Tensor) -> Tensor:
    """`x`, copied unless it is 64-byte aligned: the bits of weight gradients may depend on alignment."""
    return x if x.data_ptr() % 64 == 0 else x.clone(memory_format=torch.contiguous_format)


def stacked(members: list[Tensor]) -> Tensor:
    """torch.stack, but a view of a single member."""
    return members[0].unsqueeze(0) if len(members) == 1 else torch.stack(members)


class ChannelNorm:
    """Batch normalization of each channel over rows and positions; parameters and statistics: (K, channels)."""

    def __init__(
        self, scale: Parameter, shift: Parameter, mean: Tensor, variance: Tensor, layer: spec.BatchNorm
    ) -> None:
        self._scale, self._shift, self._mean, self._variance = scale, shift, mean, variance
        self._layer = layer
        self._saved: tuple[Tensor, list[tuple[Tensor, Tensor]]]
        self.batches_averaged: int | None = None

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        by_batch = training or self.batches_averaged is not None
        share = self._layer.momentum if self.batches_averaged is None else 1 / (self.batches_averaged + 1)
        settings = by_batch, share, self._layer.eps
        members = zip(x, self._scale.value, self._shift.value, self._mean, self._variance, strict=True)
        results = [torch.native_batch_norm(*member, *settings) for member in members]
        if training:
            self._saved = x, [(mean, inverse) for _, mean, inverse in results]
        return stacked([y for y, _, _ in results])

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        x, statistics = self._saved
        at_inputs = []
        for member, (mean, inverse) in enumerate(statistics):
            running = self._mean[member], self._variance[member]
            of_batch = self._scale.value[member], *running, mean, inverse, True, self._layer.eps, [True] * 3
            x_grad, scale_grad, shift_grad = aten.native_batch_norm_backward(grad[member], x[member], *of_batch)
            self._scale.grad[member], self._shift.grad[member] = scale_grad, shift_grad
            at_inputs.append(x_grad)
        return stacked(at_inputs)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self.backward(grad)


class Pool:
    """Max or average pooling; a sequence is pooled as an image of height 1."""

    def __init__(self, layer: spec.Pool) -> None:
        self._largest = layer.function == "max"
        sides = len(layer.shape) - 1
        self._shape = layer.shape if sides == 2 else (layer.shape[0], 1, layer.shape[1])
        self._output_shape = layer.output_shape
        self._window = tuple([1] * (2 - sides) + [n] * sides for n in (layer.kernel_size, layer.stride))
        self._padding = [0] * (2 - sides) + [layer.padding] * sides
        self._saved: tuple[Tensor, Tensor | None]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        images, places = x.reshape(-1, *self._shape), None
        if self._largest:
            y, places = aten.max_pool2d_with_indices(images, *self._window, self._padding)
        else:
            y = aten.avg_pool2d(images, *self._window, self._padding)
        if training:
            self._saved = images, places
        pooled: Tensor = y.view(*x.shape[:2], *self._output_shape)
        return pooled

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        images, places = self._saved
        own = grad.reshape(len(images), self._shape[0], -1, self._output_shape[-1])
        if places is not None:
            of_window = *self._window, self._padding, [1, 1], False
            x_grad = aten.max_pool2d_with_indices_backward(own, images, *of_window, places)
        else:
            x_grad = aten.avg_pool2d_backward(own, images, *self._window, self._padding, False, True, None)
        at_inputs: Tensor = x_grad.view(*grad.shape[:2], *self._input_shape)
        return at_inputs

    @property
    def _input_shape(self) -> tuple[int, ...]:
        return self._shape if len(self._output_shape) == 3 else (self._shape[0], self._shape[2])


class Unflatten:
    """(K, B, padded values) -> (K, B, *shape)."""

    def __init__(self, shape: spec.Shape) -> None:
        self._shape, self._values = shape, prod(shape)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        return x[..., : self._values].reshape(*x.shape[:2], *self._shape)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return F.pad(grad.flatten(2), (0, padded(self._values) - self._values))


class Flatten:
    """(K, B, *shape) -> (K, B, padded values)."""

    def __init__(self, shape: spec.Shape) -> None:
        self._other_way = Unflatten(shape)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        return self._other_way.backward(x)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return self._other_way.forward(grad, training=True)
