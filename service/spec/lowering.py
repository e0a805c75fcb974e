"""Lowers an architecture to the layer list, with a shape check of each layer."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import assert_never

from service.errors import InvalidSpec
from service.spec.architecture import Architecture, Cnn, Layers, Mlp, row_shape
from service.spec.layer_specs import (
    ActivationLayer,
    AvgPoolLayer,
    BatchNormLayer,
    Conv1dLayer,
    Conv2dLayer,
    DropoutLayer,
    FlattenLayer,
    LayerNormLayer,
    LayerSpec,
    LinearLayer,
    MaxPoolLayer,
)
from service.spec.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    Pool,
    Shape,
    Unflatten,
    windows,
)

MAX_VALUES = 2**22  # output values of one layer per row: 16 MiB


def lower(architecture: Architecture, inputs: int, outputs: int) -> tuple[Layer, ...]:
    """The layers of `architecture` from `inputs` features to `outputs` values (logits, or one number).

    Raises InvalidSpec with a pointer to the first layer whose shape does not fit.
    """
    layers: list[Layer] = []
    shape: Shape = (inputs,)
    asked = row_shape(architecture)
    if asked is not None:
        if prod(asked) != inputs:
            message = f"{_text(asked)} is {prod(asked):,} values a row, but the data has {inputs:,} inputs"
            raise InvalidSpec.at("/architecture/shape", message)
        layers.append(Unflatten(asked))
        shape = asked
    for written, place in _written(architecture):
        if isinstance(written, DropoutLayer) and written.p == 0:
            continue
        try:
            layer = _layer(written, shape)
        except ValueError as error:
            raise InvalidSpec.at(f"/architecture/{place}", f"{written.kind} {error}") from None
        shape = layer.output_shape
        layers.append(layer)
    if len(shape) > 1:
        layers.append(Flatten(shape))
    layers.append(Linear((prod(shape),), outputs))
    return tuple(layers)


def _written(architecture: Mlp | Cnn | Layers) -> Iterator[tuple[LayerSpec, str]]:
    """The architecture as layer specs, each with its path in the architecture."""
    match architecture:
        case Layers():
            yield from ((layer, f"layers/{index}") for index, layer in enumerate(architecture.layers))
        case Cnn():
            yield from _convolutions(architecture)
            yield FlattenLayer(kind="flatten"), "hidden"
            yield from _hidden(architecture)
        case Mlp():
            yield from _hidden(architecture)


def _convolutions(cnn: Cnn) -> Iterator[tuple[LayerSpec, str]]:
    for index, channels in enumerate(cnn.channels):
        place, size = f"channels/{index}", {"kernel_size": cnn.kernel_size, "padding": cnn.kernel_size // 2}
        if len(cnn.shape) == 3:
            yield Conv2dLayer(kind="conv2d", out_channels=channels, **size), place
        else:
            yield Conv1dLayer(kind="conv1d", out_channels=channels, **size), place
        yield from _norm_and_activation(cnn, place)
        if cnn.pool > 1:
            yield MaxPoolLayer(kind="max_pool", kernel_size=cnn.pool), place


def _hidden(architecture: Mlp | Cnn) -> Iterator[tuple[LayerSpec, str]]:
    for index, width in enumerate(architecture.hidden):
        place = f"hidden/{index}"
        yield LinearLayer(kind="linear", out_features=width), place
        yield from _norm_and_activation(architecture, place)
        yield DropoutLayer(kind="dropout", p=architecture.dropout), place


def _norm_and_activation(architecture: Mlp | Cnn, place: str) -> Iterator[tuple[LayerSpec, str]]:
    """Batch norm and activation after a hidden layer."""
    if architecture.batch_norm:
        momentum, eps = architecture.batch_norm_momentum, architecture.batch_norm_eps
        yield BatchNormLayer(kind="batch_norm", momentum=momentum, eps=eps), place
    yield ActivationLayer(kind="activation", function=architecture.activation), place


def _layer(written: LayerSpec, shape: Shape) -> Layer:  # noqa: C901
    """The layer for input of `shape`; raises ValueError if the shape does not fit."""
    layer: Layer
    match written:
        case LinearLayer():
            if len(shape) > 1:
                raise ValueError(f"takes flat rows, but gets {_text(shape)}: put a flatten before it")
            layer = Linear(shape, written.out_features)
        case Conv1dLayer() | Conv2dLayer():
            _check_dimensions(shape, 2 if isinstance(written, Conv1dLayer) else 3)
            _check_kernel(shape, written.kernel_size, written.padding)
            layer = Convolution(shape, written.out_channels, written.kernel_size, written.stride, written.padding)
        case MaxPoolLayer() | AvgPoolLayer():
            _check_dimensions(shape, 2, 3)
            if 2 * written.padding > written.kernel_size:
                raise ValueError(f"may pad by half of its kernel_size {written.kernel_size} at most")
            _check_kernel(shape, written.kernel_size, written.padding)
            function, stride = "max" if isinstance(written, MaxPoolLayer) else "avg", written.stride
            layer = Pool(shape, function, written.kernel_size, stride or written.kernel_size, written.padding)  # type: ignore[arg-type]
        case BatchNormLayer():
            layer = BatchNorm(shape, written.eps, written.momentum)
        case LayerNormLayer():
            layer = LayerNorm(shape, written.eps)
        case ActivationLayer():
            layer = Activate(shape, written.function)
        case DropoutLayer():
            layer = Dropout(shape, written.p)
        case FlattenLayer():
            if len(shape) == 1:
                raise ValueError("has nothing to do: the rows are flat already")
            layer = Flatten(shape)
        case _:
            assert_never(written)
    if layer.outputs > MAX_VALUES:
        raise ValueError(f"gives {layer.outputs:,} values a row; at most {MAX_VALUES:,} are allowed")
    return layer


def _check_dimensions(shape: Shape, *dimensions: int) -> None:
    if len(shape) not in dimensions:
        names = {2: "channels x length", 3: "channels x height x width"}
        needed = " or ".join(names[n] for n in dimensions)
        hint = ": set architecture.shape" if len(shape) == 1 else ""
        raise ValueError(f"takes {needed}, but gets {_text(shape)}{hint}")


def _check_kernel(shape: Shape, kernel: int, padding: int) -> None:
    if any(windows(side, kernel, 1, padding) < 1 for side in shape[1:]):
        padded = f" padded by {padding}" if padding else ""
        raise ValueError(f"has a window of {kernel}, larger than what it gets, {_text(shape)}{padded}")


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} flat values"
