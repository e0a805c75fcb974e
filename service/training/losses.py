"""What is minimized, for K members at once: the loss summed over a batch, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from service.spec.job import JobSpec, Task

aten: Any = torch.ops.aten


class BatchLoss(NamedTuple):
    """The loss of one batch."""

    rows: Tensor  # (B, K): each row's own
    weight: Tensor | float  # (K,) or one number: what the sum over the rows is divided by to give the mean
    gradient: Tensor  # (B, K, outputs): of the mean, at the network's outputs


class Loss(Protocol):
    """A loss: outputs (B, K, outputs) and targets (B, K) -> BatchLoss."""

    def __call__(self, outputs: Tensor, y: Tensor) -> BatchLoss:
        """The batch's loss and gradient."""
        ...


class CrossEntropy:
    """Cross-entropy with label smoothing and class weights, reduced as nn.CrossEntropyLoss does.

    With smoothing s, weights w and C classes a row of class c costs -sum_j w_j (s / C + [j = c] (1 - s)) log p_j, and
    the mean divides the sum by the rows' summed weights w_c.
    """

    def __init__(self, classes: int, smoothing: Sequence[float], weight: Tensor | None, device: torch.device) -> None:
        """`smoothing`: each member's; `weight`: (classes,) float32 for all, or None for ones."""
        self._weight = None if weight is None else weight.double().to(device)
        different = sorted(set(smoothing))
        tables = [torch.eye(classes).mul_(1.0 - share).add_(share / classes) for share in different]
        costs = torch.cat(tables) if weight is None else torch.cat(tables) * weight
        self._costs = costs.neg_().to(device)  # (class of the row, class), a table for each smoothing
        self._table = torch.tensor([different.index(share) * classes for share in smoothing], device=device)

    def __call__(self, outputs: Tensor, y: Tensor) -> BatchLoss:
        """outputs: (B, K, classes) logits, y: (B, K) int64."""
        log_p = torch.log_softmax(outputs, -1)
        costs = torch.embedding(self._costs, y + self._table)
        rows = (costs * log_p).sum(2)
        # In float64 the sum of weights is exact, so that it does not depend on the order that K implies.
        weight = len(y) if self._weight is None else self._weight[y].sum(0).float()
        costs /= weight if isinstance(weight, int) else weight.unsqueeze(1)
        return BatchLoss(rows, weight, aten._log_softmax_backward_data(costs, log_p, -1, log_p.dtype))


class SquaredError:
    """The mean squared error of one output."""

    def __call__(self, outputs: Tensor, y: Tensor) -> BatchLoss:
        """outputs: (B, K, 1), y: (B, K) float32."""
        error = outputs - y.unsqueeze(2)
        return BatchLoss(error.squeeze(2).square(), len(y), error * (2.0 / len(y)))


def balanced(y: Tensor, classes: int) -> Tensor:
    """The weight rows / (classes x rows of the class) of each class; 1 for a class without rows. y: (N,) int64."""
    counts = torch.bincount(y, minlength=classes)
    return torch.where(counts > 0, len(y) / (classes * counts.clamp(min=1)), 1.0)


def of(specs: Sequence[JobSpec], y: Tensor, classes: int) -> Loss:
    """The loss that the members' specs ask for; y: the training rows' targets."""
    if specs[0].task is Task.regression:
        return SquaredError()
    weight = balanced(y, classes) if specs[0].loss.class_weight == "balanced" else None
    return CrossEntropy(classes, [spec.loss.label_smoothing for spec in specs], weight, y.device)
