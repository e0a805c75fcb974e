"""The architectures of a spec: short forms of graphs of layers, and Layers, the list itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator

from service.spec.base import Bool, Float, Int, Strict, kind_or
from service.spec.capped_errors import CapErrors
from service.spec.layers import Activation, LayerSpec, PeriodicOptions
from service.spec.layers.base import Eps, Kernel, Momentum, Probability, Width
from service.spec.layers.transformer import FfnActivation

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


class ResNet(TabularOptions):
    """A residual network for tables (Gorishniy et al., 2021, arXiv 2106.11959): a linear layer, then `blocks` times
    x + dropout(linear(dropout(activation(linear(batch_norm(x)))))), then batch norm, activation and output layer."""

    kind: Literal["resnet"] = "resnet"
    """The architecture's name."""
    width: Width = 192
    """Width between the blocks."""
    blocks: Annotated[Int, Field(ge=1, le=64)] = 2
    """Number of residual blocks."""
    hidden_factor: Annotated[Float, Field(gt=0.0, le=16.0)] = 2.0
    """Width inside a block, as a multiple of `width`."""
    activation: Activation = Activation.relu
    """The activation function inside a block and before the output."""
    dropout: Probability = 0.15
    """Dropout probability of the values inside a block; 0 adds no layer."""
    residual_dropout: Probability = 0.0
    """Dropout probability of a block's output, before it is added; 0 adds no layer."""
    batch_norm_momentum: Momentum = 0.1
    """Weight of each batch in the running mean and variance used for evaluation; raise it for few steps per epoch."""
    batch_norm_eps: Eps = 1e-5
    """Added to the variance."""

    @property
    def hidden_width(self) -> int:
        """Width inside a block."""
        return max(1, int(self.width * self.hidden_factor))


class TabM(TabularOptions):
    """An ensemble of multi-layer perceptrons that share weights (TabM, arXiv 2410.24210). Each of the `heads` networks
    has an output of its own; the training loss is the mean of their losses, and a prediction is the mean of their
    predictions: for classes of their probabilities, for the loss `poisson` of the logarithms of their rates. A step
    computes each row `heads` times."""

    kind: Literal["tabm"] = "tabm"
    """The architecture's name."""
    mode: Literal["mini", "full"] = "mini"
    """`mini`: each head multiplies the inputs by scales of its own. `full`: each layer has scales of inputs and outputs
    and a bias for each head (BatchEnsemble, arXiv 2002.06715)."""
    heads: Annotated[Int, Field(ge=2, le=256)] = 16
    """Number of networks that share the weights."""
    hidden: Annotated[list[Width], Field(min_length=1, max_length=64)] = [256, 256]
    """Widths of the hidden layers."""
    activation: Activation = Activation.relu
    """The activation function after each hidden layer."""
    dropout: Probability = 0.1
    """Dropout probability of the `hidden` units in training; 0 adds no layer."""


class FtTransformer(Strict):
    """FT-Transformer (Gorishniy et al., 2021, arXiv 2106.11959): each input is a token, transformer blocks let the
    tokens attend to each other, and the output is read from an additional first token. Its cost grows with the square
    of the number of inputs: give text columns codes (`preprocess.categorical`), and take a small learning rate, such
    as 0.0003. With `precision: bfloat16` its blocks stay in float32."""

    kind: Literal["ft_transformer"] = "ft_transformer"
    """The architecture's name."""
    width: Width = 128
    """Values of a token; a multiple of `attention_heads`."""
    blocks: Annotated[Int, Field(ge=1, le=64)] = 2
    """Number of transformer blocks."""
    attention_heads: Annotated[Int, Field(ge=1, le=256)] = 8
    """Number of attention heads, which share the width."""
    ffn_activation: FfnActivation = "reglu"
    """The activation function of the feed-forward networks; ReGLU multiplies one half of the hidden units by the ReLU
    of the other half."""
    ffn_factor: Annotated[Float, Field(gt=0.0, le=16.0)] = 4 / 3
    """Width of the feed-forward networks after the activation function, as a multiple of `width`."""
    attention_dropout: Probability = 0.15
    """Dropout probability of the attention weights."""
    ffn_dropout: Probability = 0.05
    """Dropout probability of the hidden units of the feed-forward networks."""
    residual_dropout: Probability = 0.0
    """Dropout probability of what a block adds to the tokens."""

    @property
    def ffn_width(self) -> int:
        """Width of the feed-forward networks after the activation function."""
        return max(1, int(self.width * self.ffn_factor))


Architecture = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Cnn, Tag("cnn")]
    | Annotated[ResNet, Tag("resnet")]
    | Annotated[TabM, Tag("tabm")]
    | Annotated[FtTransformer, Tag("ft_transformer")]
    | Annotated[Layers, Tag("layers")],
    kind_or("mlp"),
]
ARCHITECTURES: tuple[type[Mlp | Cnn | ResNet | TabM | FtTransformer | Layers], ...] = (
    Mlp,
    Cnn,
    ResNet,
    TabM,
    FtTransformer,
    Layers,
)


def row_shape(architecture: Architecture) -> tuple[int, ...] | None:
    """The shape of a row's values; None for flat rows."""
    return architecture.shape if isinstance(architecture, Cnn | Layers) else None
