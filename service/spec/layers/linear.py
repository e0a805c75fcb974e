"""Fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.spec.layers.base import InputLayout, Layer, Shape, Width, WrittenLayer, flat


@dataclass(frozen=True)
class Linear(Layer):
    """y = x W^T + b; weight: (units, features), bias: (units,)."""

    units: int
    kind = "linear"
    decayed = ("weight",)

    @property
    def output_shape(self) -> Shape:
        """(units,)."""
        return (self.units,)

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.inputs * self.units + self.units


class LinearLayer(WrittenLayer):
    """A fully connected layer on flat values."""

    kind: Literal["linear"]
    """The layer's name."""
    out_features: Width
    """Number of outputs."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        return Linear(flat(shapes), self.out_features)
