"""Batch normalization by the rows of all ranks of a job that trains on several devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from service.training.operators.base import Slots


class SynchronizedBatchNorm:
    """Batch normalization of features (K, B, F) or channels (K, B, C, ...) by the mean and variance of all ranks' rows.

    The two passes of the statistics and the backward pass each exchange sums, in float64.
    """

    def __init__(self, slots: Slots, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        (self._scale, self._scale_grad), (self._shift, self._shift_grad) = slots.pair
        self._mean, self._variance = slots.buffers["running_mean"], slots.buffers["running_var"]
        self._layer, self._sum = slots.layer, sum_over_ranks
        self._saved: tuple[Tensor, Tensor, Tensor]
        self.batches_averaged: int | None = None

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        values = x.flatten(3) if x.ndim > 3 else x.unsqueeze(3)
        if not training and self.batches_averaged is None:
            inverse = (self._variance + self._layer.eps).rsqrt()
            return self._scaled(values - _wide(self._mean), inverse).view_as(x)
        sums = values.sum((1, 3), dtype=torch.float64)
        number = sums.new_full((len(x), 1), values.shape[1] * values.shape[3])
        found = self._sum(torch.cat([sums, number], 1))
        mean, number = (found[:, :-1] / found[:, -1:]).float(), found[:, -1:]
        centred = values - _wide(mean)
        variance = (self._sum(centred.square().sum((1, 3), dtype=torch.float64)) / number).float()
        inverse = (variance + self._layer.eps).rsqrt()
        if training:
            self._saved = centred, inverse, number
        share = self._layer.momentum if self.batches_averaged is None else 1 / (self.batches_averaged + 1)
        self._mean.lerp_(mean, share)
        self._variance.lerp_(variance * (number / (number - 1)).float(), share)
        return self._scaled(centred, inverse).view_as(x)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator. The gradients of scale and shift are those of this rank's rows, to be summed over the ranks."""
        centred, inverse, number = self._saved
        own = grad.reshape(centred.shape)
        shift, scale = own.sum((1, 3), dtype=torch.float64), (own * centred).sum((1, 3), dtype=torch.float64)
        self._shift_grad.copy_(shift)
        self._scale_grad.copy_(scale * inverse)
        whole_shift, whole_scale = (self._sum(torch.stack([shift, scale])) / number).float()
        along = own - _wide(whole_shift) - centred * _wide(whole_scale * inverse.square())
        return (along * _wide(inverse * self._scale)).view_as(grad)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self.backward(grad)

    def _scaled(self, centred: Tensor, inverse: Tensor) -> Tensor:
        return torch.addcmul(_wide(self._shift), centred, _wide(inverse * self._scale))


def _wide(values: Tensor) -> Tensor:
    """(K, C) -> (K, 1, C, 1)."""
    return values[:, None, :, None]
