"""The architectures of a spec: Mlp, Cnn, and Layers; the first two are short forms of a list of layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator

from service.spec.base import Bool, Strict, kind_or
from service.spec.capped_errors import CapErrors
from service.spec.layers import Activation, LayerSpec, PeriodicOptions
from service.spec.layers.base import Eps, Kernel, Momentum, Probability, Width

Side = Annotated[int, Field(strict=True, ge=1, le=100_000)]
RowShape = Annotated[tuple[Side, ...], Field(min_length=2, max_length=3), CapErrors()]


class _Blocks(Strict):
    """Fields that Mlp and Cnn share."""

    batch_norm: Bool = True
    """Normalize each hidden layer's outputs over the batch, before its activation."""
    batch_norm_momentum: Momentum = 0.1
    """Weight of each batch in the running mean and variance used for evaluation; raise it for few steps per epoch."""
    batch_norm_eps: Eps = 1e-5
    """Added to the variance."""
    activation: Activation = Activation.relu
    """The activation function after each hidden layer."""
    dropout: Probability = 0.0
    """Dropout probability of the `hidden` units in training; 0 adds no layer."""


class TabularOptions(Strict):
    """Fields of networks on flat rows: layers before the first hidden one. Embeddings of text columns, if the data has
    codes, are inserted by themselves."""

    periodic: PeriodicOptions | None = None
    """Periodic embeddings of numeric columns; null, or data without numeric columns: none."""
    scaling: Bool = False
    """Multiply each input, and each value of embeddings, by a learnable factor, which is 1 at first and has three times
    the learning rate (RealMLP, arXiv 2407.04491)."""


class Mlp(TabularOptions, _Blocks):
    """A multi-layer perceptron: each hidden width is Linear, BatchNorm1d (optional), activation, dropout."""

    kind: Literal["mlp"] = "mlp"
    """The architecture's name."""
    hidden: Annotated[list[Width], Field(max_length=64)] = [64, 32]
    """Widths of the hidden layers; an empty list gives a linear model."""


class Cnn(_Blocks):
    """A convolutional network for images or sequences, given as flat rows, followed by a multi-layer perceptron.

    Each entry of `channels` is a block: a convolution that keeps the size, batch norm (optional), activation, pooling.
    """

    kind: Literal["cnn"] = "cnn"
    """The architecture's name."""
    shape: RowShape
    """Shape of a row's values, in this order: [channels, height, width], or [channels, length] for a sequence."""
    channels: Annotated[list[Width], Field(min_length=1, max_length=32)] = [16, 32]
    """Channels of each convolution."""
    kernel_size: Kernel = 3
    """Kernel size of the convolutions; odd."""
    pool: Annotated[int, Field(strict=True, ge=1, le=64)] = 2
    """Kernel size and stride of each block's max pooling; 1: no pooling."""
    hidden: Annotated[list[Width], Field(max_length=64)] = [64]
    """Widths of the hidden layers after the convolutions."""

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("should be odd, so that a convolution keeps the size")
        return size


class Layers(Strict):
    """A list of layers, each of which takes the output of the one before it, or of those that its `inputs` name. The
    output layer, a Linear as wide as the target needs, is added automatically. If the data has codes and no layer takes
    them, the first layer gets the numbers and the embeddings of the codes."""

    kind: Literal["layers"] = "layers"
    """The architecture's name."""
    shape: RowShape | None = None
    """Shape of a row's values, in this order: [channels, height, width] or [channels, length]; null: flat rows."""
    layers: Annotated[list[LayerSpec], Field(max_length=200)]
    """The layers in order; a Flatten is added before the output layer if needed."""


Architecture = Annotated[
    Annotated[Mlp, Tag("mlp")] | Annotated[Cnn, Tag("cnn")] | Annotated[Layers, Tag("layers")], kind_or("mlp")
]
ARCHITECTURES: tuple[type[Mlp | Cnn | Layers], ...] = (Mlp, Cnn, Layers)


def row_shape(architecture: Mlp | Cnn | Layers) -> tuple[int, ...] | None:
    """The shape of a row's values; None for flat rows."""
    return None if isinstance(architecture, Mlp) else architecture.shape
