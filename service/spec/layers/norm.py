"""Batch and layer normalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.spec.layers.base import Eps, InputLayout, Layer, Momentum, Shape, WrittenLayer, one


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization of each feature or channel over the batch (Ioffe and Szegedy, 2015)."""

    eps: float = 1e-5
    momentum: float = 0.1
    kind = "batch_norm"

    @property
    def parameters(self) -> int:
        """Scale and shift; the running mean and variance are buffers, not parameters."""
        return 2 * self.shape[0]


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalization of each row over all of its values (Ba et al., 2016)."""

    eps: float = 1e-5
    kind = "layer_norm"

    @property
    def parameters(self) -> int:
        """Scale and shift of each value."""
        return 2 * self.inputs


class BatchNormLayer(WrittenLayer):
    """Batch normalization of each feature, or of each channel of sequences and images."""

    kind: Literal["batch_norm"]
    """The layer's name."""
    momentum: Momentum = 0.1
    """Weight of each batch in the running mean and variance used for evaluation."""
    eps: Eps = 1e-5
    """Added to the variance."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        return BatchNorm(one(shapes), self.eps, self.momentum)


class LayerNormLayer(WrittenLayer):
    """Normalization of each row over all of its values, then a scale and a shift of each (Ba et al., 2016)."""

    kind: Literal["layer_norm"]
    """The layer's name."""
    eps: Eps = 1e-5
    """Added to the variance."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        return LayerNorm(one(shapes), self.eps)
