"""Loss functions of K members at once, with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from service.spec import loss as spec
from service.training.losses.base import BatchLoss, Loss, column
from service.training.losses.classification import CrossEntropy, Focal, balanced, focal
from service.training.losses.regression import PointwiseLoss, SquaredError, pointwise

if TYPE_CHECKING:
    from service.spec.job import JobSpec

__all__ = ["BatchLoss", "CrossEntropy", "Focal", "Loss", "SquaredError", "balanced", "mean_losses", "of"]


def of(specs: Sequence[JobSpec], targets: Sequence[Tensor], classes: int) -> Loss:
    """The loss of the members' specs, of the same kind; targets: each member's, (N,), of its training rows."""
    device = targets[0].device
    found = [each.known_loss for each in specs]
    numbers = [each for each in found if isinstance(each, spec.REGRESSION)]
    if numbers:
        plain = isinstance(numbers[0], spec.SquaredError)
        return SquaredError() if plain else PointwiseLoss(pointwise(numbers, torch.empty(0, device=device)))
    weight = None
    if getattr(found[0], "class_weight", None) == "balanced":
        of_set = {id(y): balanced(y, classes) for y in targets}
        weight = torch.stack([of_set[id(y)] for y in targets])
    if isinstance(found[0], spec.Focal):
        gammas = [each.gamma for each in found if isinstance(each, spec.Focal)]
        return Focal(classes, gammas, weight, device)
    smoothing = [each.label_smoothing for each in found if isinstance(each, spec.CrossEntropy)]
    return CrossEntropy(classes, smoothing, weight, device)


def mean_losses(specs: Sequence[JobSpec], outputs: Tensor, y: Tensor) -> list[float]:
    """The mean loss of members on the same rows, without label smoothing, class weights and sample weights.

    outputs: (K, N, outputs) float64, y: (N,). Not for cross-entropy, which is the metric log_loss.
    """
    found = [each.known_loss for each in specs]
    numbers = [each for each in found if isinstance(each, spec.REGRESSION)]
    if numbers:
        own = outputs[..., 0].contiguous()
        rows, _ = pointwise(numbers, own)(own, y.to(own.dtype).expand(len(own), -1))
    else:
        log_p = outputs.log_softmax(2).gather(2, y.view(1, -1, 1).expand(len(outputs), -1, 1)).squeeze(2)
        rows, _ = focal(log_p, column([each.gamma for each in found if isinstance(each, spec.Focal)], log_p))
    means: list[float] = rows.mean(1).tolist()
    return means
