"""Large layers of images and sequences on a CPU: member by member, in pieces of the rows (see shards.py)."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from service.spec import layers as spec
from service.training import shards
from service.training.operators import images
from service.training.operators.flat import to_bf16

if TYPE_CHECKING:
    from service.training.operators.base import Parameter

aten: Any = torch.ops.aten


def _row_pieces(x: Tensor, values: int) -> list[list[slice]]:
    """The pieces of each member's rows; x: (K, B, ...), `values`: of a row, by which the pieces are made."""
    rows = x.shape[1]
    return [shards.cut(rows, shards.pieces_of(rows * values), 1) for _ in range(len(x))]


def _numbered(pieces: list[list[slice]]) -> list[tuple[int, int, slice]]:
    """(member, number of the piece, rows)."""
    return [(member, place, part) for member, own in enumerate(pieces) for place, part in enumerate(own)]


class Convolution(images.Convolution):
    """A convolution in pieces of the rows; weight gradients of the pieces are added in order."""

    def __init__(
        self, weight: Parameter, bias: Parameter, frozen_bias: bool, bf16_matmul: bool, layer: spec.Convolution
    ) -> None:
        super().__init__(weight, bias, frozen_bias, bf16_matmul, layer)
        self._values = max(layer.inputs, layer.outputs)
        self._output_shape = layer.output_shape

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        weights, biases = self._weight.value, self._bias.value
        if training:
            if self._bf16_matmul:
                x, weights = to_bf16(x), to_bf16(weights)
            self._x = x
        y = x.new_empty(*x.shape[:2], *self._output_shape)

        def piece(member: int, part: slice) -> None:
            y[member, part] = aten.convolution(x[member, part], weights[member], biases[member], *self._geometry)

        pieces = enumerate(_row_pieces(x, self._values))
        shards.run(piece, [(member, part) for member, own in pieces for part in own])
        return y

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        x_grad = torch.empty_like(self._x)
        self._gradients(grad, x_grad)
        return x_grad

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self._gradients(grad, None)

    def _gradients(self, grad: Tensor, x_grad: Tensor | None) -> None:
        """Compute the gradients of the parameters, and of the inputs into `x_grad`."""
        wanted = [x_grad is not None, True, not self._frozen_bias and not self._bf16_matmul]
        weights, own = self._weight.value, grad
        if self._bf16_matmul:
            weights, own = to_bf16(weights), to_bf16(own)
        pieces = _row_pieces(grad, self._values)
        found = [[(Tensor(), Tensor())] * len(each) for each in pieces]

        def piece(member: int, place: int, part: slice) -> None:
            of_x, of_weight, of_bias = aten.convolution_backward(
                images.aligned(own[member, part]),
                images.aligned(self._x[member, part]),
                weights[member],
                [grad.shape[2]],
                *self._geometry,
                wanted,
            )
            if x_grad is not None:
                x_grad[member, part] = of_x
            found[member][place] = of_weight, of_bias

        shards.run(piece, _numbered(pieces))
        for member, parts in enumerate(found):
            self._weight.grad[member] = _sum([weight for weight, _ in parts])
            if wanted[2]:
                self._bias.grad[member] = _sum([bias for _, bias in parts])
            elif not self._frozen_bias:  # from the gradient before rounding
                self._bias.grad[member] = grad[member].flatten(2).sum((0, 2))


def _sum(parts: list[Tensor]) -> Tensor:
    """The sum in order."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class ChannelNorm(images.ChannelNorm):
    """Batch normalization of channels in pieces of the rows.

    The mean and sum of squared deviations of the pieces are combined by Chan's formula. PyTorch's kernel takes ten
    times as long for the statistics as for the normalization.
    """

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        pieces = _row_pieces(x, x[0, 0].numel())
        means, variances = self._mean, self._variance
        if training or self.batches_averaged is not None:
            means, variances = self._statistics(x, pieces)
            values = x[0, :, 0].numel()
            share = self._layer.momentum if self.batches_averaged is None else 1 / (self.batches_averaged + 1)
            self._mean.lerp_(means, share)
            self._variance.lerp_(variances * (values / (values - 1)), share)
        if training:
            self._saved = x, list(zip(means, (variances + self._layer.eps).rsqrt(), strict=True))
        y = torch.empty_like(x)

        def piece(member: int, part: slice) -> None:
            of_member = self._scale.value[member], self._shift.value[member], means[member], variances[member]
            y[member, part] = _normalized(x[member, part], *of_member, self._layer.eps)

        shards.run(piece, [(member, part) for member, own in enumerate(pieces) for part in own])
        return y

    def _statistics(self, x: Tensor, pieces: list[list[slice]]) -> tuple[Tensor, Tensor]:
        """(K, channels) each: mean and (biased) variance over rows and positions; x: (K, B, channels, ...)."""
        channels, positions = x.shape[2], x[0, 0, 0].numel()
        found = x.new_empty(len(x), len(pieces[0]), 2, channels, dtype=torch.float64)
        one, zero = x.new_ones(channels), x.new_zeros(channels)

        def piece(member: int, place: int, part: slice) -> None:
            own = x[member, part]
            mean = own.flatten(2).sum((0, 2)) / (len(own) * positions)
            centred = _normalized(own, one, zero, mean, one, 0.0)
            found[member, place, 0] = mean
            found[member, place, 1] = torch.linalg.vector_norm(centred.flatten(2), dim=2).double().square().sum(0)

        shards.run(piece, _numbered(pieces))
        sizes = torch.tensor([(part.stop - part.start) * positions for part in pieces[0]], dtype=torch.float64)
        sizes, total = sizes.view(1, -1, 1).to(x.device), x.shape[1] * positions
        means, squares = found.unbind(2)
        mean = (means * sizes).sum(1, keepdim=True) / total
        variance = (squares + sizes * (means - mean).square()).sum(1) / total
        return mean.squeeze(1).float(), variance.float()


def _normalized(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * scale + shift; x: (B, channels, ...), the others: (channels,)."""
    return torch.native_batch_norm(x, scale, shift, mean, variance, False, 0.0, eps)[0]


class Pool(images.Pool):
    """Pooling in pieces of the rows; max-pooling by windows that do not overlap takes slices of the images.

    PyTorch's kernel for max-pooling takes ten times as long. Where values are not finite it finds the gradient.
    """

    def __init__(self, layer: spec.Pool) -> None:
        super().__init__(layer)
        (height, width), stride = self._window
        self._by_slices = self._largest and [height, width] == list(stride) and not layer.padding
        self._y: Tensor
        self._images: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        if not self._by_slices:
            return super().forward(x, training)
        images_, pieces = x.reshape(-1, *self._shape), self._pieces(x)
        y = x.new_empty(len(images_), self._shape[0], *self._output_sides)

        def piece(rows: slice) -> None:
            first, *others = self._slices(images_[rows])
            y[rows] = first
            for other in others:
                torch.maximum(y[rows], other, out=y[rows])

        shards.run(piece, pieces)
        if training:
            self._images, self._y = images_, y
        return y.view(*x.shape[:2], *self._output_shape)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator; the gradient goes to the first of equal values."""
        if not self._by_slices:
            return super().backward(grad)
        grads = grad.reshape(self._y.shape)
        x_grad = torch.zeros_like(self._images)

        def piece(rows: slice) -> None:
            x, y, own = self._images[rows], self._y[rows], grads[rows]
            if not isfinite(float(own.sum() + y.sum())):
                x_grad[rows] = self._gradient_by_kernel(x, own)
                return
            free = torch.ones_like(y)
            for values, place in zip(self._slices(x), self._slices(x_grad[rows]), strict=True):
                hit = torch.eq(values, y).to(y.dtype).mul_(free)
                free.sub_(hit)
                torch.mul(own, hit, out=place)

        shards.run(piece, self._pieces(grad))
        return x_grad.view(*grad.shape[:2], *self._input_shape)

    def _pieces(self, x: Tensor) -> list[tuple[slice]]:
        """The pieces of the rows of all members, (K * B, ...)."""
        rows = x.shape[1]
        return [
            (slice(member * rows + part.start, member * rows + part.stop),)
            for member, own in enumerate(_row_pieces(x, self._shape[0] * self._shape[1] * self._shape[2]))
            for part in own
        ]

    @property
    def _output_sides(self) -> tuple[int, int]:
        (height, width), _ = self._window
        return self._shape[1] // height, self._shape[2] // width

    def _slices(self, x: Tensor) -> list[Tensor]:
        """Views (N, channels, *output sides): the values at each place of the windows."""
        (height, width), _ = self._window
        rows, columns = self._output_sides
        return [
            x[..., i : rows * height : height, j : columns * width : width] for i in range(height) for j in range(width)
        ]

    def _gradient_by_kernel(self, x: Tensor, grad: Tensor) -> Tensor:
        _, places = aten.max_pool2d_with_indices(x, *self._window, self._padding)
        of_window = *self._window, self._padding, [1, 1], False
        found: Tensor = aten.max_pool2d_with_indices_backward(grad, x, *of_window, places)
        return found
