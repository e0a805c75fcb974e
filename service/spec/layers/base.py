"""What every layer has: shapes of one row, parameters, and the form in which a client writes it.

A shape is that of one row: (features,), (channels, length), (channels, height, width) or (tokens, features).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, TypeAlias

from pydantic import Field

from service.engine_constants import padded
from service.spec.base import Float, Int, Name, Strict
from service.spec.capped_errors import CapErrors

Shape: TypeAlias = tuple[int, ...]

Width = Annotated[Int, Field(ge=1, le=65_536)]
Kernel = Annotated[Int, Field(ge=1, le=1_024)]
Probability = Annotated[Float, Field(ge=0.0, lt=1.0)]
Momentum = Annotated[Float, Field(gt=0.0, le=1.0)]
Eps = Annotated[Float, Field(ge=1e-8, le=1.0)]

MAX_VALUES = 2**22  # output values of one layer per row: 16 MiB


@dataclass(frozen=True)
class InputLayout:
    """What a network reads of a row: a block of numbers (float32), and a block of category codes (int64)."""

    numbers: int
    """Width of the block `numbers`."""
    scaled: tuple[int, ...] = ()
    """Positions in `numbers` of the scaled value of each numeric column and date; periodic embeddings are made of
    these."""
    categories: tuple[int, ...] = ()
    """The number of codes of each column of the block `codes`."""
    embedding_sizes: tuple[int, ...] = ()
    """The size of the embedding of each column of `codes`."""


@dataclass(frozen=True)
class Layer:
    """A layer for input of one shape. Its module is made from its fields (`training/models.py`)."""

    shape: Shape
    """Shape of the input; of the first one where there are several."""
    decayed: ClassVar[tuple[str, ...]] = ()
    """Names of the parameters that weight decay applies to."""
    rates: ClassVar[dict[str, float]] = {}
    """Factors of the learning rate of parameters, by name; 1 for others."""

    @property
    def kind(self) -> str:
        """The name of the layer in `architecture.layers`."""
        raise NotImplementedError

    @property
    def output_shape(self) -> Shape:
        """Shape of the output; by default that of the input."""
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

    @property
    def values_held(self) -> int:
        """Values per row that the engine holds of the output: flat outputs are padded."""
        return padded(self.outputs) if len(self.output_shape) == 1 else self.outputs

    def copies(self, of_input: int) -> int:
        """How many copies of each row the output has, if the input has `of_input`; see `EnsembleInput`."""
        return of_input


class WrittenLayer(Strict):
    """A layer as a client writes it; shapes follow from the data."""

    name: Name | None = None
    """A name by which later layers can take this layer's output as input."""
    inputs: Annotated[list[Name], Field(min_length=1, max_length=100), CapErrors()] | None = None
    """The names of the layers whose outputs this layer takes; `numbers` and `codes` are the network's inputs. Null: the
    layer before."""
    reads_codes: ClassVar[bool] = False
    """Whether the layer takes category codes; others take numbers."""

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """The layer for inputs of these shapes. Raises ValueError, which continues "linear ...", if they do not fit."""
        raise NotImplementedError


def one(shapes: Sequence[Shape]) -> Shape:
    """The shape of the only input."""
    if len(shapes) != 1:
        raise ValueError(f"takes one input, but gets {len(shapes)}: put an add or a concat before it")
    return shapes[0]


def flat(shapes: Sequence[Shape]) -> Shape:
    """The shape of the only input, which must be flat."""
    shape = one(shapes)
    if len(shape) > 1:
        raise ValueError(f"takes flat rows, but gets {text(shape)}: put a flatten before it")
    return shape


def sides(shapes: Sequence[Shape], *dimensions: int) -> Shape:
    """The shape of the only input, which must have one of these numbers of dimensions."""
    shape = one(shapes)
    if len(shape) not in dimensions:
        names = {2: "channels x length", 3: "channels x height x width"}
        needed = " or ".join(names[n] for n in dimensions)
        hint = ": set architecture.shape" if len(shape) == 1 else ""
        raise ValueError(f"takes {needed}, but gets {text(shape)}{hint}")
    return shape


def windows(size: int, kernel: int, stride: int, padding: int) -> int:
    """Output size of a convolution or pooling along one side; below 1 if the kernel does not fit."""
    return (size + 2 * padding - kernel) // stride + 1


def check_kernel(shape: Shape, kernel: int, padding: int) -> None:
    """Raise ValueError if the kernel is larger than a padded side."""
    if any(windows(side, kernel, 1, padding) < 1 for side in shape[1:]):
        around = f" padded by {padding}" if padding else ""
        raise ValueError(f"has a window of {kernel}, larger than what it gets, {text(shape)}{around}")


def text(shape: Shape) -> str:
    """A shape in words."""
    return " x ".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} flat values"
