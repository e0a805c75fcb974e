"""Layers of the FT-Transformer (Gorishniy et al., 2021, arXiv 2106.11959): feature tokenizer and transformer block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.spec.layers.base import Layer, Shape

FfnActivation = Literal["reglu", "relu"]


@dataclass(frozen=True)
class FeatureTokenizer(Layer):
    """A token for each number and each code of a row, behind a learned first one, the [CLS] token.

    Number j is b_j + x_j w_j; code c of a column is b + E[c], where code 0 has the zero vector. cls: (width,), weight:
    (numbers, width), bias: (numbers + columns of codes, width), table: (sum of codes, width). `shape`: (numbers,).
    """

    categories: tuple[int, ...]
    width: int
    kind = "feature_tokenizer"

    @property
    def output_shape(self) -> Shape:
        """(tokens, width)."""
        return (1 + self.inputs + len(self.categories), self.width)

    @property
    def parameters(self) -> int:
        """The [CLS] token, weights, biases and tables."""
        return self.width * (1 + 2 * self.inputs + len(self.categories) + sum(self.categories))


@dataclass(frozen=True)
class TransformerBlock(Layer):
    """Pre-norm transformer block: x + attention(norm(x)), then x + ffn(norm(x)).

    The feed-forward network is linear, activation, dropout, linear; ReGLU multiplies one half of the first layer's
    outputs by the ReLU of the other half. Without `norm` the first normalization is left out. With `first_token` the
    output is that of the first token alone, flat: enough for the last block.
    """

    heads: int
    ffn_width: int
    ffn_activation: FfnActivation
    norm: bool
    first_token: bool
    attention_dropout: float
    ffn_dropout: float
    residual_dropout: float
    kind = "transformer_block"
    decayed = ("query.weight", "key.weight", "value.weight", "out.weight", "ffn_in.weight", "ffn_out.weight")

    @property
    def tokens(self) -> int:
        """Tokens of the input."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Values of a token."""
        return self.shape[1]

    @property
    def output_shape(self) -> Shape:
        """(tokens, width), or (width,) of the first token."""
        return (self.width,) if self.first_token else self.shape

    @property
    def ffn_outputs(self) -> int:
        """Outputs of the first linear layer of the feed-forward network."""
        return self.ffn_width * (2 if self.ffn_activation == "reglu" else 1)

    @property
    def parameters(self) -> int:
        """Four linear layers of attention, keys without bias, two of the feed-forward network, normalizations."""
        attention = (4 * self.width + 3) * self.width
        ffn = (self.width + 1) * self.ffn_outputs + (self.ffn_width + 1) * self.width
        return attention + ffn + 2 * self.width * (1 + self.norm)

    @property
    def values_held(self) -> int:
        """What autograd saves for the backward pass."""
        answers = 1 if self.first_token else self.tokens
        attention = 3 * self.heads * answers * self.tokens
        ffn = answers * 2 * (self.ffn_outputs + self.ffn_width)
        return 5 * self.inputs + 8 * answers * self.width + attention + ffn
