"""Which network: the architectures a client can name."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from service.spec.base import Bool, Float, Int, Strict

Width = Annotated[Int, Field(ge=1, le=65_536)]


class Activation(StrEnum):
    """The non-linearity after each hidden layer, by its usual name in PyTorch."""

    relu = "relu"
    leaky_relu = "leaky_relu"
    elu = "elu"
    gelu = "gelu"
    silu = "silu"
    tanh = "tanh"
    sigmoid = "sigmoid"


class Mlp(Strict):
    """A multi-layer perceptron: per hidden width Linear, BatchNorm1d (if asked for), activation, dropout."""

    kind: Literal["mlp"] = "mlp"
    """The architecture's name."""
    hidden: Annotated[list[Width], Field(max_length=64)] = [64, 32]
    """Widths of the hidden layers; an empty list gives a linear model."""
    batch_norm: Bool = True
    """Normalize each hidden layer's outputs over the batch, before its activation."""
    batch_norm_momentum: Annotated[Float, Field(gt=0.0, le=1.0)] = 0.1
    """Share of each batch in the running mean and variance, which evaluation uses; raise it for few steps an epoch."""
    batch_norm_eps: Annotated[Float, Field(ge=1e-8, le=1.0)] = 1e-5
    """Added to the variance."""
    activation: Activation = Activation.relu
    """The non-linearity after each hidden layer."""
    dropout: Annotated[Float, Field(ge=0.0, lt=1.0)] = 0.0
    """Probability of zeroing a hidden unit in training; 0 adds no layer."""


Architecture = Mlp
