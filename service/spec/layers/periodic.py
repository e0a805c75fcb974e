"""Periodic embeddings of numeric columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from service.engine_constants import padded
from service.spec.base import Float, Int, Strict
from service.spec.layers.base import InputLayout, Layer, Shape, WrittenLayer, flat, text

ALIGNED = 16
"""The engine pads the frequencies of a column to a multiple of this many floats, 64 bytes."""
COMPONENTS = 3
"""Learned values of a column, beside the number itself."""


@dataclass(frozen=True)
class Periodic(Layer):
    """PBLD embeddings (RealMLP, arXiv 2407.04491): all inputs x, then w2 cos(2 pi w1 x_c + b1) + b2 of each column c.

    frequency w1 and phase b1: (columns, frequencies); weight w2: (columns, 3, frequencies); bias b2: (columns, 3).
    """

    columns: tuple[int, ...]
    frequencies: int
    sigma: float
    kind = "periodic"

    @property
    def output_shape(self) -> Shape:
        """(features + 3 x columns,)."""
        return (self.inputs + COMPONENTS * len(self.columns),)

    @property
    def parameters(self) -> int:
        """Frequencies, phases, weights and biases of each column."""
        return len(self.columns) * (2 * self.frequencies + COMPONENTS * (self.frequencies + 1))

    @property
    def values_held(self) -> int:
        """The output, and angle and cosine of each frequency."""
        frequencies = -(-self.frequencies // ALIGNED) * ALIGNED
        return padded(self.outputs) + len(self.columns) * (2 * frequencies + COMPONENTS + 1)


class PeriodicOptions(Strict):
    """Periodic embeddings of numeric columns (PBLD in RealMLP, arXiv 2407.04491): beside each number x, three learned
    combinations of cos(2 pi w x + b) at several frequencies w."""

    frequencies: Annotated[Int, Field(ge=1, le=256)] = 16
    """Frequencies of each column."""
    sigma: Annotated[Float, Field(gt=0.0, le=100.0)] = 0.5
    """Standard deviation of the initial frequencies, in periods per unit of the scaled column."""


class PeriodicLayer(WrittenLayer, PeriodicOptions):
    """Periodic embeddings of numeric columns: all inputs, then three learned combinations of cos(2 pi w x + b) of each
    numeric column. Takes `numbers`, or a layer of the same width."""

    kind: Literal["periodic"]
    """The layer's name."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        shape = flat(shapes)
        if shape != (layout.numbers,):
            raise ValueError(f"takes the {layout.numbers} values of `numbers`, but gets {text(shape)}")
        if not layout.scaled:
            raise ValueError("needs a numeric column, and the data has none")
        return Periodic(shape, layout.scaled, self.frequencies, self.sigma)
