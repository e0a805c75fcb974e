"""Lowers an architecture to a graph of layers, with a shape check of each layer."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from service.errors import InvalidSpec
from service.spec.architecture import Architecture, Cnn, FtTransformer, Layers, Mlp, ResNet, TabM, row_shape
from service.spec.bodies import add_ft_transformer, add_resnet, add_tabm
from service.spec.graph import BLOCKS, CODES, NUMBERS, Graph, Node
from service.spec.layers import (
    ActivationLayer,
    BatchNormLayer,
    Conv1dLayer,
    Conv2dLayer,
    DropoutLayer,
    Flatten,
    FlattenLayer,
    InputLayout,
    Layer,
    Linear,
    LinearLayer,
    MaxPoolLayer,
    Shape,
    Unflatten,
    WrittenLayer,
)
from service.spec.layers.base import MAX_VALUES, text


def lower(architecture: Architecture, layout: InputLayout, outputs: int) -> Graph:
    """The graph of `architecture` from the inputs of `layout` to `outputs` values (logits, or one number).

    Raises InvalidSpec with a pointer to the first layer whose name, inputs or shape does not fit.
    """
    building = _Building(layout)
    asked = row_shape(architecture)
    if asked is not None:
        if prod(asked) != layout.numbers:
            message = f"{text(asked)} is {prod(asked):,} values a row, but the data has {layout.numbers:,} inputs"
            raise InvalidSpec.at("/architecture/shape", message)
        building.add(Unflatten(asked), (NUMBERS,))
    if isinstance(architecture, ResNet):
        add_resnet(architecture, building, outputs)
    elif isinstance(architecture, TabM):
        add_tabm(architecture, building, layout, outputs)
    elif isinstance(architecture, FtTransformer):
        add_ft_transformer(architecture, building, layout, outputs)
    else:
        _add_written(architecture, building, outputs)
    return building.graph()


def _add_written(architecture: Mlp | Cnn | Layers, building: _Building, outputs: int) -> None:
    """Append an architecture that is a list of layers, and its output layer."""
    for written, place in _written(architecture):
        building.write(written, f"/architecture/{place}")
    shape = building.shapes[building.last]
    if len(shape) > 1:
        building.add(Flatten(shape), (building.last,))
        shape = (prod(shape),)
    building.add(Linear(shape, outputs), (building.last,))


class _Building:
    """A graph that is being built, layer by layer."""

    def __init__(self, layout: InputLayout) -> None:
        self._layout = layout
        self._nodes: list[Node] = []
        self._named = {name: name for name in BLOCKS}  # the client's name -> the node's
        self._places: dict[str, str] = {}  # the node's name -> where the client wrote it
        self.shapes: dict[str, Shape] = {NUMBERS: (layout.numbers,), CODES: (len(layout.categories),)}
        self.last = NUMBERS

    def add(self, layer: Layer, inputs: tuple[str, ...], label: str | None = None) -> str:
        """Append a layer; returns its node's name."""
        self.last = f"layers.{len(self._nodes)}"
        self._nodes.append(Node(self.last, layer, inputs, label))
        self.shapes[self.last] = layer.output_shape
        return self.last

    def write(self, written: WrittenLayer, place: str) -> None:
        """Append a layer as a client wrote it."""
        inputs = self._inputs(written, place)
        if written.name is not None and written.name in self._named:
            raise InvalidSpec.at(f"{place}/name", f"another layer or input has the name {written.name!r}")
        if isinstance(written, DropoutLayer) and written.p == 0 and len(inputs) == 1:
            self.last = inputs[0]
        else:
            self.add(self._layer(written, inputs, place), inputs, written.name)
            self._places[self.last] = place
        if written.name is not None:
            self._named[written.name] = self.last

    def _layer(self, written: WrittenLayer, inputs: tuple[str, ...], place: str) -> Layer:
        kind = getattr(written, "kind", "")
        try:
            layer = written.layer([self.shapes[name] for name in inputs], self._layout)
        except ValueError as error:
            raise InvalidSpec.at(place, f"{kind} {error}") from None
        if layer.outputs > MAX_VALUES:
            raise InvalidSpec.at(
                place, f"{kind} gives {layer.outputs:,} values a row; at most {MAX_VALUES:,} are allowed"
            )
        return layer

    def _inputs(self, written: WrittenLayer, place: str) -> tuple[str, ...]:
        if written.inputs is None:
            return (self.last,)
        for index, name in enumerate(written.inputs):
            if name not in self._named:
                known = ", ".join(map(repr, self._named))
                raise InvalidSpec.at(
                    f"{place}/inputs/{index}", f"no earlier layer has the name {name!r}; known: {known}"
                )
            if name == CODES and not self._layout.categories:
                raise InvalidSpec.at(
                    f"{place}/inputs/{index}", "there are no codes: preprocess.categorical is not `embedding`"
                )
        return tuple(self._named[name] for name in written.inputs)

    def graph(self) -> Graph:
        """The graph; raises InvalidSpec if a layer's output is not used."""
        graph = Graph(self._layout, tuple(self._nodes))
        for node in graph.unread():
            message = "no later layer takes this layer's output: name it in a layer's inputs, or leave it out"
            raise InvalidSpec.at(self._places.get(node.name, "/architecture/shape"), message)
        return graph


def _written(architecture: Mlp | Cnn | Layers) -> Iterator[tuple[WrittenLayer, str]]:
    """The architecture as written layers, each with its path in the architecture."""
    match architecture:
        case Layers():
            yield from ((layer, f"layers/{index}") for index, layer in enumerate(architecture.layers))
        case Cnn():
            yield from _convolutions(architecture)
            yield FlattenLayer(kind="flatten"), "hidden"
            yield from _hidden(architecture)
        case Mlp():
            yield from _hidden(architecture)


def _convolutions(cnn: Cnn) -> Iterator[tuple[WrittenLayer, str]]:
    for index, channels in enumerate(cnn.channels):
        place, size = f"channels/{index}", {"kernel_size": cnn.kernel_size, "padding": cnn.kernel_size // 2}
        if len(cnn.shape) == 3:
            yield Conv2dLayer(kind="conv2d", out_channels=channels, **size), place
        else:
            yield Conv1dLayer(kind="conv1d", out_channels=channels, **size), place
        yield from _norm_and_activation(cnn, place)
        if cnn.pool > 1:
            yield MaxPoolLayer(kind="max_pool", kernel_size=cnn.pool), place


def _hidden(architecture: Mlp | Cnn) -> Iterator[tuple[WrittenLayer, str]]:
    for index, width in enumerate(architecture.hidden):
        place = f"hidden/{index}"
        yield LinearLayer(kind="linear", out_features=width), place
        yield from _norm_and_activation(architecture, place)
        yield DropoutLayer(kind="dropout", p=architecture.dropout), place


def _norm_and_activation(architecture: Mlp | Cnn, place: str) -> Iterator[tuple[WrittenLayer, str]]:
    """Batch norm and activation after a hidden layer."""
    if architecture.batch_norm:
        momentum, eps = architecture.batch_norm_momentum, architecture.batch_norm_eps
        yield BatchNormLayer(kind="batch_norm", momentum=momentum, eps=eps), place
    yield ActivationLayer(kind="activation", function=architecture.activation), place
