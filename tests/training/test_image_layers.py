"""Layers for sequences and images: values, gradients and bits; wrong shapes are refused."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import functional as F

from service.errors import InvalidSpec
from service.spec.architecture import Architecture
from service.spec.graph import NUMBERS, Graph, Node
from service.spec.layers import InputLayout, Layer
from service.spec.lowering import lower
from service.training.array import NetworkArray
from service.training.losses import CrossEntropy
from service.training.models import build, initial_state
from tests.specs import synthetic
from tests.training.test_array_bits import assert_same, outcomes

CPU = torch.device("cpu")
CONV = {"kind": "conv2d", "out_channels": 3, "kernel_size": 2, "padding": 1}
NETWORKS: list[Any] = [
    {"kind": "cnn", "shape": [1, 4, 5], "channels": [3, 4], "hidden": [6]},
    {"kind": "cnn", "shape": [2, 10], "channels": [3], "activation": "gelu", "dropout": 0.2},
    {
        "kind": "layers",
        "shape": [1, 4, 5],
        "layers": [CONV, {"kind": "layer_norm"}, {"kind": "activation", "function": "elu"}, {"kind": "avg_pool"}],
    },
    {"kind": "layers", "layers": [{"kind": "activation", "function": "gelu"}]},
    {"kind": "layers", "layers": [{"kind": "layer_norm"}, {"kind": "linear", "out_features": 7}, {"kind": "dropout"}]},
]


def lowered(architecture: Any, inputs: int = 20) -> Graph:
    return lower(TypeAdapter(Architecture).validate_python(architecture), InputLayout(inputs), 3)


def chain(layers: tuple[Layer, ...], layout: InputLayout) -> Graph:
    """Layers one after another."""
    names = [NUMBERS, *(f"layers.{place}" for place in range(len(layers)))]
    nodes = [Node(name, layer, (source,)) for name, layer, source in zip(names[1:], layers, names, strict=False)]
    return Graph(layout, tuple(nodes))


@pytest.mark.parametrize("architecture", NETWORKS)
def test_values_and_gradients_are_those_of_plain_networks(architecture: Any) -> None:
    layers = lowered({**architecture, "dropout": 0.0} if architecture["kind"] == "cnn" else architecture)
    layers = chain(tuple(layer for layer in layers.layers if layer.kind != "dropout"), layers.layout)
    array = NetworkArray([layers] * 2, [initial_state(layers, seed) for seed in (0, 1)], CPU)
    x, y = torch.randn(2, 9, 20), torch.randint(0, 3, (2, 9))
    before = [array.state(member) for member in range(2)]
    assert sum(p.numel() for p in build(layers).parameters()) == layers.parameters

    outputs = array.forward(array.pad(x), training=True)
    array.backward(CrossEntropy(3, [0.0] * 2, None, CPU)(outputs.clone(), y).gradient)
    array.parameters.sub_(array.gradient)

    for member in range(2):
        network = build(layers)
        network.load_state_dict(before[member], strict=True)
        expected = network.train()(x[member])
        F.cross_entropy(expected, y[member]).backward()
        torch.testing.assert_close(outputs[member, :, :3], expected, atol=1e-5, rtol=1e-5)
        for key, parameter in network.named_parameters():
            moved = before[member][key] - array.state(member)[key]
            torch.testing.assert_close(moved, parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_member_is_bit_identical_to_the_job_alone(architecture: Any) -> None:
    data = {"kind": "synthetic", "rows": 61, "features": 20, "classes": 3}
    jobs = [synthetic(data=data, seed=s, architecture=architecture, max_epochs=3, batch_size=16) for s in range(4)]

    together = outcomes(jobs)

    for job, outcome in zip(jobs, together, strict=True):
        assert_same(outcome, outcomes([job])[0])


@pytest.mark.parametrize(
    ("architecture", "pointer"),
    [
        ({"kind": "cnn", "shape": [1, 5, 5]}, "/architecture/shape"),
        ({"kind": "cnn", "shape": [1, 4, 5], "channels": [2, 2, 2]}, "/architecture/channels/2"),
        (
            {"kind": "layers", "layers": [{"kind": "layer_norm"}, CONV]},
            "/architecture/layers/1",
        ),
        (
            {"kind": "layers", "shape": [1, 4, 5], "layers": [{"kind": "linear", "out_features": 2}]},
            "/architecture/layers/0",
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_named(architecture: Any, pointer: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        lowered(architecture)

    assert [fault.pointer for fault in error.value.field_errors] == [pointer]


@pytest.mark.parametrize("architecture", NETWORKS)
def test_nothing_of_the_rows_is_held_after_an_evaluation(architecture: Any) -> None:
    layers = lowered(architecture)
    array = NetworkArray([layers], [initial_state(layers, 0)], CPU)
    x = array.pad(torch.randn(1, 9, 20))
    gc.collect()
    gc.freeze()  # from here on, `get_objects` lists new objects alone

    array.forward(x, training=False)

    assert [each.shape for each in gc.get_objects() if type(each) is torch.Tensor] == []
