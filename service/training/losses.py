"""Loss functions of K members at once, with their gradients: cross-entropy and mean squared error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec.job import JobSpec, Task

aten: Any = torch.ops.aten


class BatchLoss(NamedTuple):
    """The loss of one batch."""

    rows: Tensor  # (K, B): loss of each row
    weight: Tensor | float  # (K,) or a number: the mean loss is the sum over the rows divided by this
    gradient: Tensor  # (K, B, padded outputs): gradient of the mean loss at the outputs; 0 in the padding


class Loss(Protocol):
    """A loss: outputs (K, B, padded outputs), which may be overwritten, targets and sample weights (K, B) -> BatchLoss.

    A sample weight multiplies the row's loss; the divisor of the mean ignores it.
    """

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """The batch's loss and gradient."""
        ...


class CrossEntropy:
    """Cross-entropy with label smoothing and class weights, reduced as nn.CrossEntropyLoss does.

    With smoothing s, weights w and C classes a row of class c costs -sum_j w_j (s / C + [j = c] (1 - s)) log p_j, and
    the mean divides the sum by the rows' summed weights w_c.

    It is computed at the padded width, with logits of -1e30 in the padding: PyTorch's kernel for a width that fills its
    registers takes a fifth of the time of the kernel for ten classes.
    """

    def __init__(self, classes: int, smoothing: Sequence[float], weight: Tensor | None, device: torch.device) -> None:
        """`smoothing`: each member's; `weight`: (classes,) for all or (K, classes), float32; None for ones."""
        weights = torch.ones(1) if weight is None else weight
        kinds = list(zip(smoothing, map(tuple, weights.expand(len(smoothing), classes).tolist()), strict=True))
        different = sorted(set(kinds))
        tables = [torch.eye(classes, device=device).mul_(1.0 - kind[0]).add_(kind[0] / classes) for kind in different]
        each_weight = torch.tensor([kind[1] for kind in different], device=device)
        self._weight = None if weight is None else each_weight.double().view(-1)  # by row of `costs`
        costs = torch.cat(tables) if weight is None else torch.cat(tables) * each_weight.repeat_interleave(classes, 0)
        padding = padded(classes) - classes
        self._costs = F.pad(costs.neg_(), (0, padding))  # (class of the row, class), one table per kind
        self._table = torch.tensor([[different.index(kind) * classes] for kind in kinds], device=device)
        self._padding_logits = (
            F.pad(torch.zeros(classes, device=device), (0, padding), value=-1e30) if padding else None
        )

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """outputs: (K, B, padded classes) logits, y: (K, B) int64, weight: (K, B)."""
        if self._padding_logits is not None:
            outputs.add_(self._padding_logits)
        log_p = torch.log_softmax(outputs, -1)
        places = y + self._table
        costs = torch.embedding(self._costs, places)
        if weight is not None:
            costs *= weight.unsqueeze(2)
        rows = (costs * log_p).sum(2)
        # In float64 the sum of weights is exact, so its bits do not depend on the order of summation, which K changes.
        total = y.shape[1] if self._weight is None else self._weight[places].sum(1).float()
        costs /= total if isinstance(total, int) else total.view(-1, 1, 1)
        return BatchLoss(rows, total, aten._log_softmax_backward_data(costs, log_p, -1, log_p.dtype))


class SquaredError:
    """The mean squared error of one output."""

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """outputs: (K, B, padded 1), y and weight: (K, B) float32."""
        rows, error = y.shape[1], outputs[..., 0] - y
        weighed = error if weight is None else error * weight
        gradient = torch.zeros_like(outputs)
        gradient[..., 0] = weighed * (2.0 / rows)
        return BatchLoss(weighed * error, rows, gradient)


def balanced(y: Tensor, classes: int) -> Tensor:
    """Balanced class weights, rows / (classes x rows of the class); 1 for a class without rows. y: (N,) int64."""
    counts = torch.bincount(y, minlength=classes)
    return torch.where(counts > 0, len(y) / (classes * counts.clamp(min=1)), 1.0)


def of(specs: Sequence[JobSpec], targets: Sequence[Tensor], classes: int) -> Loss:
    """The loss of the members' specs; targets: each member's, (N,), of its training rows."""
    if specs[0].task is Task.regression:
        return SquaredError()
    weight = None
    if specs[0].loss.class_weight == "balanced":
        of_set = {id(y): balanced(y, classes) for y in targets}
        weight = torch.stack([of_set[id(y)] for y in targets])
    return CrossEntropy(classes, [spec.loss.label_smoothing for spec in specs], weight, targets[0].device)
