"""Max and average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from service.spec.base import Int
from service.spec.layers.base import InputLayout, Kernel, Layer, Shape, WrittenLayer, check_kernel, sides, windows


@dataclass(frozen=True)
class Pool(Layer):
    """Max or average pooling."""

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


class _Pool(WrittenLayer):
    kernel_size: Kernel = 2
    """Size of the kernel, the same in every dimension."""
    stride: Kernel | None = None
    """Stride of the kernel; null: `kernel_size`."""
    padding: Annotated[Int, Field(ge=0, le=512)] = 0
    """Padding at each edge; at most half of `kernel_size`."""
    _function: ClassVar[Literal["max", "avg"]]

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        shape = sides(shapes, 2, 3)
        if 2 * self.padding > self.kernel_size:
            raise ValueError(f"may pad by half of its kernel_size {self.kernel_size} at most")
        check_kernel(shape, self.kernel_size, self.padding)
        return Pool(shape, self._function, self.kernel_size, self.stride or self.kernel_size, self.padding)


class MaxPoolLayer(_Pool):
    """Max pooling."""

    kind: Literal["max_pool"]
    """The layer's name."""
    _function = "max"


class AvgPoolLayer(_Pool):
    """Average pooling; padded zeros count."""

    kind: Literal["avg_pool"]
    """The layer's name."""
    _function = "avg"
