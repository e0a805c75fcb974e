"""What a loss is: the loss of a batch of K members, with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded


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


def by_row(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An element-wise function of (K, N) values, contiguous.

    Padded to whole vector registers: the scalar kernels for a remainder round transcendental functions differently, and
    where the remainder is depends on K.
    """
    rows = x.shape[1]
    return function(F.pad(x, (0, padded(rows) - rows)))[:, :rows].contiguous()


def column(values: list[float], like: Tensor) -> Tensor:
    """(K, 1) settings of the members, with dtype and device of `like`."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1)
