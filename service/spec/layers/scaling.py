"""Learnable scaling of each input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from service.spec.layers.base import InputLayout, Layer, Shape, WrittenLayer, flat


@dataclass(frozen=True)
class Scaling(Layer):
    """Multiplies each value by a factor, 1 at first (RealMLP, arXiv 2407.04491); weight: (features,)."""

    kind = "scaling"
    rates: ClassVar[dict[str, float]] = {"weight": 3.0}

    @property
    def parameters(self) -> int:
        """One factor a value."""
        return self.inputs


class ScalingLayer(WrittenLayer):
    """Multiplies each flat value by a learnable factor, which is 1 at first and has three times the learning rate: a
    soft selection of features (RealMLP, arXiv 2407.04491)."""

    kind: Literal["scaling"]
    """The layer's name."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        return Scaling(flat(shapes))
