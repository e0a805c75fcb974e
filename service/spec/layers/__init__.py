"""The layers of networks, one kind in a file: as a client writes it, and with shapes, as the engine builds it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.spec.layers.activation import Activate, Activation, ActivationLayer
from service.spec.layers.base import InputLayout, Layer, Shape, WrittenLayer
from service.spec.layers.convolution import Conv1dLayer, Conv2dLayer, Convolution
from service.spec.layers.dropout import Dropout, DropoutLayer
from service.spec.layers.embedding import Embedding, EmbeddingLayer
from service.spec.layers.ensemble import EnsembleInput, EnsembleLinear, EnsembleOutput
from service.spec.layers.linear import Linear, LinearLayer
from service.spec.layers.merge import Add, AddLayer, Concat, ConcatLayer
from service.spec.layers.norm import BatchNorm, BatchNormLayer, LayerNorm, LayerNormLayer
from service.spec.layers.periodic import ALIGNED, COMPONENTS, Periodic, PeriodicLayer, PeriodicOptions
from service.spec.layers.pool import AvgPoolLayer, MaxPoolLayer, Pool
from service.spec.layers.reshape import Flatten, FlattenLayer, Unflatten
from service.spec.layers.scaling import Scaling, ScalingLayer
from service.spec.layers.transformer import FeatureTokenizer, TransformerBlock

__all__ = [
    "ALIGNED",
    "COMPONENTS",
    "LAYERS",
    "Activate",
    "Activation",
    "ActivationLayer",
    "Add",
    "AddLayer",
    "AvgPoolLayer",
    "BatchNorm",
    "BatchNormLayer",
    "Concat",
    "ConcatLayer",
    "Conv1dLayer",
    "Conv2dLayer",
    "Convolution",
    "Dropout",
    "DropoutLayer",
    "Embedding",
    "EmbeddingLayer",
    "EnsembleInput",
    "EnsembleLinear",
    "EnsembleOutput",
    "FeatureTokenizer",
    "Flatten",
    "FlattenLayer",
    "InputLayout",
    "Layer",
    "LayerNorm",
    "LayerNormLayer",
    "LayerSpec",
    "Linear",
    "LinearLayer",
    "MaxPoolLayer",
    "Periodic",
    "PeriodicLayer",
    "PeriodicOptions",
    "Pool",
    "Scaling",
    "ScalingLayer",
    "Shape",
    "TransformerBlock",
    "Unflatten",
    "WrittenLayer",
]

_KINDS: tuple[type[Layer], ...] = (
    *(Linear, Convolution, BatchNorm, LayerNorm, Activate, Dropout, Pool, Flatten, Unflatten, Add, Concat),
    *(Embedding, Scaling, Periodic),
    *(EnsembleInput, EnsembleLinear, EnsembleOutput, FeatureTokenizer, TransformerBlock),
)
LAYERS = {layer.__name__: layer for layer in _KINDS}
"""Every layer by the name of its type, as resolved jobs are stored."""

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
    | FlattenLayer
    | AddLayer
    | ConcatLayer
    | EmbeddingLayer
    | ScalingLayer
    | PeriodicLayer,
    Field(discriminator="kind"),
]
"""A layer as a client writes it."""
