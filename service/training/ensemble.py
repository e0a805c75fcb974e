"""The loss of an ensemble that shares weights: the mean of its heads' losses, each on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from service.training.losses import BatchLoss

if TYPE_CHECKING:
    from service.training.losses import Loss


class MeanOfHeads:
    """The mean of the losses of an ensemble's heads, whose outputs are one behind another: (K, heads * B, outputs)."""

    def __init__(self, loss: Loss, heads: int) -> None:
        self._loss, self._heads = loss, heads

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """See Loss; y and weight: (K, B)."""
        repeated = None if weight is None else weight.repeat(1, self._heads)
        loss = self._loss(outputs, y.repeat(1, self._heads), repeated)
        # In float64 the sum over the heads is exact, so its bits do not depend on the order of summation.
        rows = loss.rows.double().view(len(y), self._heads, -1).sum(1).div_(self._heads)
        return BatchLoss(rows, loss.weight / self._heads, loss.gradient)
