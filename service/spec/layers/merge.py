"""Layers of several inputs: sum and concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from service.spec.layers.base import InputLayout, Layer, Shape, WrittenLayer, text


@dataclass(frozen=True)
class Add(Layer):
    """The sum of two or more inputs of the same shape: a residual connection (He et al., 2016)."""

    kind = "add"


@dataclass(frozen=True)
class Concat(Layer):
    """Inputs one behind another, as flat rows; `shape` is that of the output."""

    widths: tuple[int, ...]
    kind = "concat"


class AddLayer(WrittenLayer):
    """The sum of two or more layers' outputs of the same shape; name them in `inputs`."""

    kind: Literal["add"]
    """The layer's name."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        if len(shapes) < 2:
            raise ValueError("needs two inputs or more: name them in its inputs")
        if len(set(shapes)) > 1:
            raise ValueError(f"takes inputs of the same shape, but gets {', '.join(map(text, shapes))}")
        return Add(shapes[0])


class ConcatLayer(WrittenLayer):
    """Two or more layers' outputs one behind another, as flat rows; name them in `inputs`."""

    kind: Literal["concat"]
    """The layer's name."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        if len(shapes) < 2:
            raise ValueError("needs two inputs or more: name them in its inputs")
        shaped = [shape for shape in shapes if len(shape) > 1]
        if shaped:
            raise ValueError(f"takes flat rows, but gets {text(shaped[0])}: put a flatten before it")
        widths = tuple(map(prod, shapes))
        return Concat((sum(widths),), widths)
