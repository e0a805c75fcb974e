"""The layer list that every architecture is lowered to: layers with input and output shapes, in pure Python.

Shape checks, parameter counts, the torch module and the array are computed from it. A shape is that of one row:
(features,), (channels, length) or (channels, height, width).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

from service.engine_constants import padded
from service.spec.layer_specs import Activation

Shape: TypeAlias = tuple[int, ...]


class _Sizes:
    """Numbers of values per row; by default the output has the shape of the input."""

    shape: Shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the output."""
        return self.shape

    @property
    def inputs(self) -> int:
        """Input values per row."""
        return prod(self.shape)

    @property
    def outputs(self) -> int:
        """Output values per row."""
        return prod(self.output_shape)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return 0


@dataclass(frozen=True)
class Linear(_Sizes):
    """y = x W^T + b; weight: (units, features), bias: (units,)."""

    shape: Shape
    units: int
    kind = "linear"

    @property
    def output_shape(self) -> Shape:
        """(units,)."""
        return (self.units,)

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.inputs * self.units + self.units


@dataclass(frozen=True)
class Convolution(_Sizes):
    """Cross-correlation over a sequence or an image; weight: (out_channels, channels, kernel_size, ...)."""

    shape: Shape
    out_channels: int
    kernel_size: int
    stride: int
    padding: int

    @property
    def kind(self) -> str:
        """conv1d or conv2d."""
        return f"conv{len(self.shape) - 1}d"

    @property
    def output_shape(self) -> Shape:
        """(out_channels, ...)."""
        return self.out_channels, *(windows(n, self.kernel_size, self.stride, self.padding) for n in self.shape[1:])

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.out_channels * (self.shape[0] * prod([self.kernel_size] * (len(self.shape) - 1)) + 1)


@dataclass(frozen=True)
class BatchNorm(_Sizes):
    """Batch normalization of each feature or channel over the batch (Ioffe and Szegedy, 2015)."""

    shape: Shape
    eps: float = 1e-5
    momentum: float = 0.1
    kind = "batch_norm"

    @property
    def parameters(self) -> int:
        """Scale and shift; the running mean and variance are buffers, not parameters."""
        return 2 * self.shape[0]


@dataclass(frozen=True)
class LayerNorm(_Sizes):
    """Normalization of each row over all of its values (Ba et al., 2016)."""

    shape: Shape
    eps: float = 1e-5
    kind = "layer_norm"

    @property
    def parameters(self) -> int:
        """Scale and shift of each value."""
        return 2 * self.inputs


@dataclass(frozen=True)
class Activate(_Sizes):
    """An element-wise activation function."""

    shape: Shape
    function: Activation
    kind = "activation"


@dataclass(frozen=True)
class Dropout(_Sizes):
    """Zeroes each value with probability `p` in training and scales the rest by 1 / (1 - p)."""

    shape: Shape
    p: float
    kind = "dropout"


@dataclass(frozen=True)
class Pool(_Sizes):
    """Max or average pooling."""

    shape: Shape
    function: Literal["max", "avg"]
    kernel_size: int
    stride: int
    padding: int

    @property
    def kind(self) -> str:
        """max_pool or avg_pool."""
        return f"{self.function}_pool"

    @property
    def output_shape(self) -> Shape:
        """The same channels, each with fewer values."""
        return self.shape[0], *(windows(n, self.kernel_size, self.stride, self.padding) for n in self.shape[1:])


@dataclass(frozen=True)
class Flatten(_Sizes):
    """Sequences or images to flat rows, in their order in memory."""

    shape: Shape
    kind = "flatten"

    @property
    def output_shape(self) -> Shape:
        """(values,)."""
        return (self.inputs,)


@dataclass(frozen=True)
class Unflatten(_Sizes):
    """Flat rows to sequences or images of the shape `to`."""

    to: Shape
    kind = "unflatten"

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """(values,)."""
        return (prod(self.to),)

    @property
    def output_shape(self) -> Shape:
        """The shape `to`."""
        return self.to


Layer: TypeAlias = Linear | Convolution | BatchNorm | LayerNorm | Activate | Dropout | Pool | Flatten | Unflatten


def windows(size: int, kernel: int, stride: int, padding: int) -> int:
    """Output size of a convolution or pooling along one side; below 1 if the kernel does not fit."""
    return (size + 2 * padding - kernel) // stride + 1


def values_held(layer: Layer) -> int:
    """Values per row that the engine holds of the layer's output: flat outputs are padded."""
    return padded(layer.outputs) if len(layer.output_shape) == 1 else layer.outputs


def count_parameters(layers: tuple[Layer, ...]) -> int:
    """Number of trained parameters of all layers."""
    return sum(layer.parameters for layer in layers)
