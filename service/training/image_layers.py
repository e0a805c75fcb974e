"""The layers of K networks that take sequences or images: values are (K, B, channels, length or height, width) float32.

Arithmetic outweighs dispatch here, so what has parameters goes member by member: then a member's result cannot depend
on the others. Each gradient is written out, as calls of PyTorch's own kernels.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec import layers as spec
from service.training.layers import Parameter, rough

aten: Any = torch.ops.aten


class Convolution:
    """Cross-correlation; weight: (K, outputs, inputs, *kernel), bias: (K, outputs), no gradient where it is `held`.

    `rounded`: as in layers.Linear.
    """

    def __init__(self, weight: Parameter, bias: Parameter, held: bool, rounded: bool, layer: spec.Convolution) -> None:
        self._weight, self._bias, self._held, self._rounded = weight, bias, held, rounded
        sides = len(layer.shape) - 1
        # stride, padding, dilation, transposed, output_padding, groups: as torch.convolution takes them
        self._geometry = [layer.stride] * sides, [layer.padding] * sides, [1] * sides, False, [0] * sides, 1
        self._x: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        weights, biases = self._weight.value, self._bias.value
        rounded = training and self._rounded
        if rounded:
            x = rough(x)
        if training:
            self._x = x
        if not rounded:
            members = zip(x, weights, biases, strict=True)
            return torch.stack([aten.convolution(*member, *self._geometry) for member in members])
        pairs = zip(x, rough(weights), strict=True)
        y = torch.stack([aten.convolution(*pair, None, *self._geometry) for pair in pairs]).float()
        return y.add_(biases.view(len(y), 1, -1, *[1] * (y.dim() - 3)))

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        return torch.stack(self._backward(grad, inputs=True)).float()

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self._backward(grad, inputs=False)

    def _backward(self, grad: Tensor, inputs: bool) -> list[Tensor]:
        """Each member's gradient at its inputs, where that is asked for."""
        wanted, channels = [inputs, True, not self._held and not self._rounded], [grad.shape[2]]
        weights, grads = self._weight.value, grad
        if self._rounded:
            weights, grads = rough(weights), rough(grads)
        at_inputs = []
        for member, (own, x, weight) in enumerate(zip(grads, self._x, weights, strict=True)):
            x_grad, weight_grad, bias_grad = aten.convolution_backward(
                _aligned(own), _aligned(x), weight, channels, *self._geometry, wanted
            )
            self._weight.grad[member] = weight_grad
            if wanted[2]:
                self._bias.grad[member] = bias_grad
            elif not self._held:  # of the gradient as it was before rounding
                self._bias.grad[member] = grad[member].flatten(2).sum((0, 2))
            at_inputs.append(x_grad)
        return at_inputs


def _aligned(x: Tensor) -> Tensor:
    """`x`, or a copy where it does not begin at a multiple of 64 bytes: gradients of weights may depend on that."""
    return x if x.data_ptr() % 64 == 0 else x.clone(memory_format=torch.contiguous_format)


class ChannelNorm:
    """Batch normalization of each channel over rows and places; all parameters and statistics: (K, channels)."""

    def __init__(
        self, scale: Parameter, shift: Parameter, mean: Tensor, variance: Tensor, layer: spec.BatchNorm
    ) -> None:
        self._scale, self._shift, self._mean, self._variance = scale, shift, mean, variance
        self._layer = layer
        self._saved: tuple[Tensor, list[tuple[Tensor, Tensor]]]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        settings = training, self._layer.momentum, self._layer.eps
        members = zip(x, self._scale.value, self._shift.value, self._mean, self._variance, strict=True)
        results = [torch.native_batch_norm(*member, *settings) for member in members]
        if training:
            self._saved = x, [(mean, inverse) for _, mean, inverse in results]
        return torch.stack([y for y, _, _ in results])

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
        return torch.stack(at_inputs)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self.backward(grad)


class Pool:
    """The largest value or the mean of each window; a sequence is an image of height 1."""

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
