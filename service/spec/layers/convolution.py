"""Convolutions over sequences and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from service.spec.base import Int
from service.spec.layers.base import (
    InputLayout,
    Kernel,
    Layer,
    Shape,
    Width,
    WrittenLayer,
    check_kernel,
    sides,
    windows,
)


@dataclass(frozen=True)
class Convolution(Layer):
    """Cross-correlation over a sequence or an image; weight: (out_channels, channels, kernel_size, ...)."""

    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    decayed = ("weight",)

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


class _Convolution(WrittenLayer):
    out_channels: Width
    """Number of output channels."""
    kernel_size: Kernel
    """Size of the kernel, the same in every dimension."""
    stride: Kernel = 1
    """Stride of the kernel."""
    padding: Annotated[Int, Field(ge=0, le=1_024)] = 0
    """Zero padding at each edge."""
    _dimensions: ClassVar[int]

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        shape = sides(shapes, self._dimensions)
        check_kernel(shape, self.kernel_size, self.padding)
        return Convolution(shape, self.out_channels, self.kernel_size, self.stride, self.padding)


class Conv1dLayer(_Convolution):
    """Convolution over a sequence of shape (channels, length)."""

    kind: Literal["conv1d"]
    """The layer's name."""
    _dimensions = 2


class Conv2dLayer(_Convolution):
    """Convolution over an image of shape (channels, height, width)."""

    kind: Literal["conv2d"]
    """The layer's name."""
    _dimensions = 3
