"""Sum and concatenation of K networks' activations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded


class Add:
    """The sum of its inputs; each has the gradient of the sum."""

    def merge(self, inputs: Sequence[Tensor], training: bool) -> Tensor:
        """See MergeOperator."""
        total = inputs[0] + inputs[1]
        for each in inputs[2:]:
            total.add_(each)
        return total

    def split(self, grad: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        """See MergeOperator."""
        return [grad if each else None for each in wanted]


class Concat:
    """Flat inputs of these widths one behind another, without the padding between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        self._widths = list(widths)
        self._padding = padded(sum(widths)) - sum(widths)

    def merge(self, inputs: Sequence[Tensor], training: bool) -> Tensor:
        """See MergeOperator."""
        parts = [each[..., :width] for each, width in zip(inputs, self._widths, strict=True)]
        if self._padding:
            parts.append(parts[0].new_zeros(*parts[0].shape[:2], self._padding))
        return torch.cat(parts, 2)

    def split(self, grad: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        """See MergeOperator."""
        parts = torch.split(grad, [*self._widths, self._padding], 2)
        return [
            F.pad(part, (0, padded(part.shape[2]) - part.shape[2])) if each else None
            for part, each in zip(parts, wanted, strict=False)
        ]
