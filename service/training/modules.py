"""Layers that PyTorch does not have, as torch modules. Needs only torch.

Each class takes the fields of the layer of the same name in `service/spec/layers` as keyword arguments. In a bundle
this file is called layers.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """The sum of its inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, *shape) each -> (B, *shape)."""
        total = inputs[0]
        for each in inputs[1:]:
            total = total + each
        return total


class Concat(nn.Module):
    """Its inputs one behind another."""

    def __init__(self, shape: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, width) each -> (B, sum of the widths)."""
        return torch.cat(inputs, 1)
