"""Flat rows to sequences or images, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from service.spec.layers.base import InputLayout, Layer, Shape, WrittenLayer, one


@dataclass(frozen=True)
class Flatten(Layer):
    """Sequences or images to flat rows, in their order in memory."""

    kind = "flatten"

    @property
    def output_shape(self) -> Shape:
        """(values,)."""
        return (self.inputs,)


@dataclass(frozen=True)
class Unflatten(Layer):
    """Flat rows to sequences or images of the shape `to`."""

    shape: Shape = field(init=False, repr=False)
    to: Shape
    kind = "unflatten"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", (prod(self.to),))

    @property
    def output_shape(self) -> Shape:
        """The shape `to`."""
        return self.to


class FlattenLayer(WrittenLayer):
    """Flattens sequences or images to flat rows."""

    kind: Literal["flatten"]
    """The layer's name."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        shape = one(shapes)
        if len(shape) == 1:
            raise ValueError("has nothing to do: the rows are flat already")
        return Flatten(shape)
