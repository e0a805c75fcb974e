"""Losses of classification for K members at once, with their gradients: cross-entropy and focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.training.losses.base import BatchLoss, by_row

aten: Any = torch.ops.aten


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


class Focal:
    """Focal loss with class weights w: a row of class c costs -w_c (1 - p_c)^gamma log p_c, reduced as cross-entropy.

    Its derivative by log p_c is w_c (gamma p_c (1 - p_c)^(gamma - 1) log p_c - (1 - p_c)^gamma).
    """

    def __init__(self, classes: int, gammas: Sequence[float], weight: Tensor | None, device: torch.device) -> None:
        """`gammas`: each member's; `weight`: (K, classes) float32; None for ones."""
        self._gammas = torch.tensor(list(gammas), device=device).view(-1, 1)
        self._weight = weight
        self._classes = classes

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """outputs: (K, B, padded classes) logits, y: (K, B) int64, weight: (K, B)."""
        outputs[..., self._classes :] = -1e30
        log_p = torch.log_softmax(outputs, -1)
        places = y.unsqueeze(2)
        rows, slopes = focal(log_p.gather(2, places).squeeze(2), self._gammas)
        total: int | Tensor = y.shape[1]
        if self._weight is not None:
            own = self._weight.gather(1, y)
            total = own.double().sum(1).float()  # exact, as in CrossEntropy
            rows, slopes = rows * own, slopes * own
        if weight is not None:
            rows, slopes = rows * weight, slopes * weight
        slopes = slopes / (total if isinstance(total, int) else total.view(-1, 1))
        gradient = torch.zeros_like(log_p).scatter_(2, places, slopes.unsqueeze(2))
        return BatchLoss(rows, total, aten._log_softmax_backward_data(gradient, log_p, -1, log_p.dtype))


def focal(log_p: Tensor, gammas: Tensor) -> tuple[Tensor, Tensor]:
    """The focal loss and its derivative by log p; log_p: (K, N), of the rows' own classes; gammas: (K, 1)."""
    smallest = 1e-30  # its powers are finite
    missing = by_row(lambda x: torch.expm1(x).neg_(), log_p).clamp_(min=smallest)
    lower = by_row(lambda x: torch.pow(x, (gammas - 1.0).expand_as(x).contiguous()), missing)
    power = lower * missing
    return -power * log_p, gammas * (1.0 - missing) * lower * log_p - power


def balanced(y: Tensor, classes: int) -> Tensor:
    """Balanced class weights, rows / (classes x rows of the class); 1 for a class without rows. y: (N,) int64."""
    counts = torch.bincount(y, minlength=classes)
    return torch.where(counts > 0, len(y) / (classes * counts.clamp(min=1)), 1.0)
