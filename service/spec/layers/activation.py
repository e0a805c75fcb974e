"""Element-wise activation functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from service.spec.layers.base import InputLayout, Layer, Shape, WrittenLayer, one


class Activation(StrEnum):
    """An activation function, by its name in PyTorch."""

    relu = "relu"
    leaky_relu = "leaky_relu"
    elu = "elu"
    gelu = "gelu"
    silu = "silu"
    tanh = "tanh"
    sigmoid = "sigmoid"


@dataclass(frozen=True)
class Activate(Layer):
    """An element-wise activation function."""

    function: Activation
    kind = "activation"


class ActivationLayer(WrittenLayer):
    """An element-wise activation function."""

    kind: Literal["activation"]
    """The layer's name."""
    function: Activation = Activation.relu
    """The activation function."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        return Activate(one(shapes), self.function)
