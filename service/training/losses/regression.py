"""Losses of regression for K members at once, with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from service.spec import loss as spec
from service.training.losses.base import BatchLoss, by_row, column

Pointwise = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Outputs and targets (K, N) -> the loss of each row, and its derivative by the output."""


class SquaredError:
    """The mean squared error of one output."""

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """outputs: (K, B, padded 1), y and weight: (K, B) float32."""
        rows, error = y.shape[1], outputs[..., 0] - y
        weighed = error if weight is None else error * weight
        gradient = torch.zeros_like(outputs)
        gradient[..., 0] = weighed * (2.0 / rows)
        return BatchLoss(weighed * error, rows, gradient)


class PointwiseLoss:
    """The mean of a loss of one output."""

    def __init__(self, function: Pointwise) -> None:
        self._function = function

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """outputs: (K, B, padded 1), y and weight: (K, B) float32."""
        rows, slopes = self._function(outputs[..., 0].contiguous(), y)
        if weight is not None:
            rows, slopes = rows * weight, slopes * weight
        gradient = torch.zeros_like(outputs)
        gradient[..., 0] = slopes * (1.0 / y.shape[1])
        return BatchLoss(rows, y.shape[1], gradient)


def pointwise(settings: Sequence[spec.RegressionLoss], like: Tensor) -> Pointwise:
    """The function of members with the same kind of loss; dtype and device as of `like`."""
    match settings[0]:
        case spec.AbsoluteError():
            return absolute
        case spec.Huber():
            return huber(column([each.delta for each in settings if isinstance(each, spec.Huber)], like))
        case spec.QuantileLoss():
            return quantile(column([each.q for each in settings if isinstance(each, spec.QuantileLoss)], like))
        case spec.Poisson():
            return poisson
        case spec.SquaredError():
            return squared


def squared(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error."""
    error = output - y
    return error.square(), 2.0 * error


def absolute(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute error; the derivative at 0 is 0."""
    error = output - y
    return error.abs(), error.sign()


def huber(delta: Tensor) -> Pointwise:
    """Huber loss: e^2 / 2 up to |e| = delta, then delta (|e| - delta / 2); delta: (K, 1)."""

    def function(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        error = output - y
        clipped = torch.maximum(torch.minimum(error, delta), -delta)
        return clipped * (error - 0.5 * clipped), clipped

    return function


def quantile(q: Tensor) -> Pointwise:
    """Quantile loss: q e for e = y - output above 0, (q - 1) e below; q: (K, 1). The derivative at 0 is 0."""

    def function(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        error = output - y
        slopes = torch.where(error > 0, 1.0 - q, torch.where(error < 0, -q, torch.zeros_like(error)))
        return error * slopes, slopes

    return function


def poisson(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Half the Poisson deviance, y log(y / rate) - y + rate, with rate = exp(output).

    It is y (exp(d) - 1 - d) with d = output - log y: no difference of large numbers. For y = 0 it is the rate.
    """
    rate = by_row(torch.exp, output)
    apart = output - by_row(torch.log, y)
    rows = torch.where(y > 0, y * (by_row(torch.expm1, apart) - apart), rate)
    return rows, rate - y
