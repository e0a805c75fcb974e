"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.spec.layers.base import InputLayout, Layer, Probability, Shape, WrittenLayer, one


@dataclass(frozen=True)
class Dropout(Layer):
    """Zeroes each value with probability `p` in training and scales the rest by 1 / (1 - p)."""

    p: float
    kind = "dropout"


class DropoutLayer(WrittenLayer):
    """Zeroes each value with probability `p` in training and scales the rest by 1 / (1 - p); 0 adds no layer."""

    kind: Literal["dropout"]
    """The layer's name."""
    p: Probability = 0.5
    """Probability of zeroing a value."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        return Dropout(one(shapes), self.p)
