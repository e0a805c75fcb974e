"""Lowers an architecture to a graph of layers, with a shape check of each layer."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from service.errors import InvalidSpec
from service.spec.architecture import (
    Architecture,
    Cnn,
    FtTransformer,
    Layers,
    Mlp,
    ResNet,
    TabM,
    TabularOptions,
    row_shape,
)
from service.spec.bodies import add_ft_transformer, add_resnet, add_tabm
from service.spec.graph import BLOCKS, CODES, NUMBERS, Graph, Node
from service.spec.layers import (
    ActivationLayer,
    BatchNormLayer,
    Concat,
    Conv1dLayer,
    Conv2dLayer,
    DropoutLayer,
    EmbeddingLayer,
    Flatten,
    FlattenLayer,
    InputLayout,
    Layer,
    Linear,
    LinearLayer,
    MaxPoolLayer,
    PeriodicLayer,
    ScalingLayer,
    Shape,
    Unflatten,
    WrittenLayer,
)
from service.spec.layers.base import MAX_VALUES, text


def lower(architecture: Architecture, layout: InputLayout, outputs: int) -> Graph:
    """The graph of `architecture` from the inputs of `layout` to `outputs` values (logits, or one number).

    Raises InvalidSpec with a pointer to the first layer whose name, inputs or shape does not fit.
    """
    building = Building(layout)
    asked = row_shape(architecture)
    if asked is not None:
        if prod(asked) != layout.numbers:
            message = f"{text(asked)} is {prod(asked):,} values a row, but the data has {layout.numbers:,} inputs"
            raise InvalidSpec.at("/architecture/shape", message)
        building.add(Unflatten(asked), (NUMBERS,))
    if not isinstance(architecture, FtTransformer):
        tabular_inputs(building, architecture)
    if isinstance(architecture, ResNet):
        add_resnet(architecture, building, outputs)
    elif isinstance(architecture, TabM):
        add_tabm(architecture, building, layout, outputs)
    elif isinstance(architecture, FtTransformer):
        add_ft_transformer(architecture, building, layout, outputs)
    else:
        _add_written(architecture, building, outputs)
    return building.graph()


def _add_written(architecture: Mlp | Cnn | Layers, building: Building, outputs: int) -> None:
    """Append an architecture that is a list of layers, and its output layer."""
    for written, place in _written(architecture):
        building.write(written, f"/architecture/{place}")
    shape = building.shapes[building.last]
    if len(shape) > 1:
        building.add(Flatten(shape), (building.last,))
        shape = (prod(shape),)
    building.add(Linear(shape, outputs), (building.last,))


_OF_CODES = "/preprocess/categorical"
"""Where embeddings are asked for that no layer names."""


def tabular_inputs(building: Building, architecture: Architecture) -> None:
    """Append the layers before the first hidden one: periodic embeddings of numbers, embeddings of codes, scaling.

    Nothing is appended to networks whose layers take the codes themselves.
    """
    options = architecture if isinstance(architecture, TabularOptions) else TabularOptions()
    layout = building.layout
    if options.periodic is not None and layout.scaled:
        written = PeriodicLayer(kind="periodic", **options.periodic.model_dump())
        building.write(written, "/architecture/periodic")
    if layout.categories and not _takes_codes(architecture):
        if row_shape(architecture) is not None:
            message = "the architecture takes rows of numbers: one_hot is needed, or a layer that takes `codes`"
            raise InvalidSpec.at(_OF_CODES, message)
        numbers = building.last
        embeddings = building.write(EmbeddingLayer(kind="embedding"), _OF_CODES)
        if layout.numbers:
            building.join((numbers, embeddings), _OF_CODES)
    if options.scaling:
        building.write(ScalingLayer(kind="scaling"), "/architecture/scaling")


def _takes_codes(architecture: Architecture) -> bool:
    """Whether a written layer takes the codes."""
    layers = architecture.layers if isinstance(architecture, Layers) else []
    return any(layer.reads_codes or CODES in (layer.inputs or ()) for layer in layers)


class Building:
    """A graph that is being built, layer by layer."""

    def __init__(self, layout: InputLayout) -> None:
        self.layout = layout
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

    def join(self, inputs: tuple[str, ...], place: str) -> str:
        """Append the concatenation of these nodes' flat values; returns its node's name."""
        widths = tuple(prod(self.shapes[name]) for name in inputs)
        self._places[self.add(Concat((sum(widths),), widths), inputs)] = place
        return self.last

    def write(self, written: WrittenLayer, place: str) -> str:
        """Append a layer as a client wrote it; returns its node's name."""
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
        return self.last

    def _layer(self, written: WrittenLayer, inputs: tuple[str, ...], place: str) -> Layer:
        kind = getattr(written, "kind", "")
        try:
            layer = written.layer([self.shapes[name] for name in inputs], self.layout)
        except ValueError as error:
            raise InvalidSpec.at(place, f"{kind} {error}") from None
        if layer.outputs > MAX_VALUES:
            raise InvalidSpec.at(
                place, f"{kind} gives {layer.outputs:,} values a row; at most {MAX_VALUES:,} are allowed"
            )
        return layer

    def _inputs(self, written: WrittenLayer, place: str) -> tuple[str, ...]:
        if written.inputs is None:
            source = CODES if written.reads_codes else self.last
            self._check_block(written, source, place)
            return (source,)
        for index, name in enumerate(written.inputs):
            if name not in self._named:
                absent = {CODES} if not self.layout.categories else set()
                known = ", ".join(repr(each) for each in self._named if each not in absent)
                raise InvalidSpec.at(
                    f"{place}/inputs/{index}", f"no earlier layer has the name {name!r}; known: {known}"
                )
            self._check_block(written, self._named[name], f"{place}/inputs/{index}")
        return tuple(self._named[name] for name in written.inputs)

    def _check_block(self, written: WrittenLayer, source: str, pointer: str) -> None:
        """Codes are for layers that take codes alone, and a block that is read has columns."""
        kind = getattr(written, "kind", "")
        if (source == CODES or written.reads_codes) and not self.layout.categories:
            raise InvalidSpec.at(pointer, "there are no codes: no column has preprocess.categorical `embedding`")
        if source == NUMBERS and not self.layout.numbers:
            raise InvalidSpec.at(pointer, "there are no numbers: every column has a code; take an embedding of `codes`")
        if written.reads_codes and source != CODES:
            raise InvalidSpec.at(pointer, f"{kind} takes codes: its input is `codes`")
        if source == CODES and not written.reads_codes:
            raise InvalidSpec.at(pointer, f"{kind} takes numbers, not codes: put an embedding before it")

    def graph(self) -> Graph:
        """The graph; raises InvalidSpec if a layer's output is not used."""
        graph = Graph(self.layout, tuple(self._nodes))
        for node in graph.unread():
            place = self._places.get(node.name, "/architecture/shape")
            if place == _OF_CODES:
                message = "no layer takes the codes: add an embedding, with `codes` among its inputs"
                raise InvalidSpec.at("/architecture/layers", message)
            message = "no later layer takes this layer's output: name it in a layer's inputs, or leave it out"
            raise InvalidSpec.at(place, message)
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
