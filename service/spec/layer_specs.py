"""The layers of an architecture `layers`, with PyTorch's names; shapes follow from the data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from service.spec.base import Float, Int, Strict

Width = Annotated[Int, Field(ge=1, le=65_536)]
Kernel = Annotated[Int, Field(ge=1, le=1_024)]
Probability = Annotated[Float, Field(ge=0.0, lt=1.0)]
Momentum = Annotated[Float, Field(gt=0.0, le=1.0)]
Eps = Annotated[Float, Field(ge=1e-8, le=1.0)]


class Activation(StrEnum):
    """An activation function, by its name in PyTorch."""

    relu = "relu"
    leaky_relu = "leaky_relu"
    elu = "elu"
    gelu = "gelu"
    silu = "silu"
    tanh = "tanh"
    sigmoid = "sigmoid"


class LinearLayer(Strict):
    """A fully connected layer on flat values."""

    kind: Literal["linear"]
    """The layer's name."""
    out_features: Width
    """Number of outputs."""


class _Convolution(Strict):
    out_channels: Width
    """Number of output channels."""
    kernel_size: Kernel
    """Size of the kernel, the same in every dimension."""
    stride: Kernel = 1
    """Stride of the kernel."""
    padding: Annotated[Int, Field(ge=0, le=1_024)] = 0
    """Zero padding at each edge."""


class Conv1dLayer(_Convolution):
    """Convolution over a sequence of shape (channels, length)."""

    kind: Literal["conv1d"]
    """The layer's name."""


class Conv2dLayer(_Convolution):
    """Convolution over an image of shape (channels, height, width)."""

    kind: Literal["conv2d"]
    """The layer's name."""


class BatchNormLayer(Strict):
    """Batch normalization of each feature, or of each channel of sequences and images."""

    kind: Literal["batch_norm"]
    """The layer's name."""
    momentum: Momentum = 0.1
    """Weight of each batch in the running mean and variance used for evaluation."""
    eps: Eps = 1e-5
    """Added to the variance."""


class LayerNormLayer(Strict):
    """Normalization of each row over all of its values, then a scale and a shift of each (Ba et al., 2016)."""

    kind: Literal["layer_norm"]
    """The layer's name."""
    eps: Eps = 1e-5
    """Added to the variance."""


class ActivationLayer(Strict):
    """An element-wise activation function."""

    kind: Literal["activation"]
    """The layer's name."""
    function: Activation = Activation.relu
    """The activation function."""


class DropoutLayer(Strict):
    """Zeroes each value with probability `p` in training and scales the rest by 1 / (1 - p); 0 adds no layer."""

    kind: Literal["dropout"]
    """The layer's name."""
    p: Probability = 0.5
    """Probability of zeroing a value."""


class _Pool(Strict):
    kernel_size: Kernel = 2
    """Size of the kernel, the same in every dimension."""
    stride: Kernel | None = None
    """Stride of the kernel; null: `kernel_size`."""
    padding: Annotated[Int, Field(ge=0, le=512)] = 0
    """Padding at each edge; at most half of `kernel_size`."""


class MaxPoolLayer(_Pool):
    """Max pooling."""

    kind: Literal["max_pool"]
    """The layer's name."""


class AvgPoolLayer(_Pool):
    """Average pooling; padded zeros count."""

    kind: Literal["avg_pool"]
    """The layer's name."""


class FlattenLayer(Strict):
    """Flattens sequences or images to flat rows."""

    kind: Literal["flatten"]
    """The layer's name."""


LayerSpec = Annotated[
    LinearLayer
    | Conv1dLayer
    | Conv2dLayer
    | BatchNormLayer
    | LayerNormLayer
    | ActivationLayer
    | DropoutLayer
    | MaxPoolLayer
    | AvgPoolLayer
    | FlattenLayer,
    Field(discriminator="kind"),
]
