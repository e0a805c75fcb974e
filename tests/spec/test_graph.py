"""Layers with named inputs: how they are lowered to a graph, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import InvalidSpec
from service.spec.architecture import Layers
from service.spec.graph import Graph
from service.spec.job import SPEC_VERSION, version_needed
from service.spec.layers import BatchNorm, Concat, InputLayout, Linear
from service.spec.lowering import lower
from tests.specs import synthetic

LINEAR = {"kind": "linear", "out_features": 8}


def lowered(*layers: dict[str, Any], shape: list[int] | None = None) -> Graph:
    architecture = Layers.model_validate({"kind": "layers", "layers": layers, "shape": shape})
    return lower(architecture, InputLayout(12), 3)


def test_layers_without_inputs_take_the_output_of_the_one_before() -> None:
    graph = lowered(LINEAR, {"kind": "batch_norm"})

    assert [node.inputs for node in graph.nodes] == [("numbers",), ("layers.0",), ("layers.1",)]
    assert graph.is_chain


def test_a_layer_takes_the_outputs_that_its_inputs_name() -> None:
    graph = lowered(
        {**LINEAR, "name": "first"},
        {**LINEAR, "name": "second"},
        {"kind": "add", "inputs": ["first", "second"], "name": "sum"},
        {"kind": "concat", "inputs": ["sum", "numbers"]},
    )

    assert [node.inputs for node in graph.nodes] == [
        ("numbers",),
        ("layers.0",),
        ("layers.0", "layers.1"),
        ("layers.2", "numbers"),
        ("layers.3",),
    ]
    assert [node.label for node in graph.nodes] == ["first", "second", "sum", None, None]
    assert graph.layers[3:] == (Concat((20,), (8, 12)), Linear((20,), 3))
    assert not graph.is_chain


def test_a_dropout_of_probability_0_is_left_out_and_its_name_stands_for_its_input() -> None:
    graph = lowered(
        LINEAR, {"kind": "dropout", "p": 0.0, "name": "dropped"}, {"kind": "add", "inputs": ["dropped"] * 2}
    )

    assert [node.inputs for node in graph.nodes] == [("numbers",), ("layers.0", "layers.0"), ("layers.1",)]


def test_a_bias_is_frozen_only_if_batch_norms_alone_take_it() -> None:
    norm = {"kind": "batch_norm", "inputs": ["a"], "name": "norm"}
    alone = lowered({**LINEAR, "name": "a"}, norm)
    also_added = lowered({**LINEAR, "name": "a"}, norm, {"kind": "add", "inputs": ["a", "norm"]})

    assert isinstance(also_added.layers[1], BatchNorm)
    assert alone.frozen_biases == {"layers.0"}
    assert also_added.frozen_biases == set()


@pytest.mark.parametrize(
    ("layers", "pointer", "said"),
    [
        ([{**LINEAR, "inputs": ["b"]}], "/layers/0/inputs/0", "no earlier layer has the name 'b'; known: 'numbers'"),
        ([{**LINEAR, "inputs": ["codes"]}], "/layers/0/inputs/0", "there are no codes"),
        ([{**LINEAR, "name": "numbers"}], "/layers/0/name", "another layer or input has the name 'numbers'"),
        (
            [{**LINEAR, "name": "a"}, {**LINEAR, "name": "a"}],
            "/layers/1/name",
            "another layer or input has the name 'a'",
        ),
        ([{"kind": "add"}], "/layers/0", "needs two inputs or more"),
        ([{"kind": "concat"}], "/layers/0", "needs two inputs or more"),
        (
            [{**LINEAR, "name": "a"}, {"kind": "add", "inputs": ["a", "numbers"]}],
            "/layers/1",
            "takes inputs of the same shape, but gets 8 flat values, 12 flat values",
        ),
        ([{**LINEAR, "inputs": ["numbers", "numbers"]}], "/layers/0", "takes one input"),
        ([LINEAR, {**LINEAR, "inputs": ["numbers"]}], "/layers/0", "no later layer takes this layer's output"),
        (
            [{**LINEAR, "out_features": 65_536, "name": "a"}, {"kind": "concat", "inputs": ["a"] * 65}],
            "/layers/1",
            "gives 4,259,840 values a row; at most 4,194,304 are allowed",
        ),
    ],
)
def test_an_error_points_to_the_layer(layers: list[dict[str, Any]], pointer: str, said: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        lowered(*layers)

    (problem,) = raised.value.field_errors
    assert problem.pointer == f"/architecture{pointer}"
    assert said in problem.message


def test_only_specs_that_name_layers_need_the_newer_version() -> None:
    plain, named = LINEAR, {**LINEAR, "name": "a"}

    needed = [
        version_needed(synthetic(architecture={"kind": "layers", "layers": [layer]}).spec) for layer in (plain, named)
    ]

    assert needed == [1, 2]
    assert SPEC_VERSION >= 2


def test_networks_with_other_inputs_are_not_trained_as_one_array() -> None:
    residual = [{**LINEAR, "name": "a"}, {**LINEAR, "name": "b"}, {"kind": "add", "inputs": ["a", "b"]}]
    other = [*residual[:2], {"kind": "add", "inputs": ["b", "b"]}]
    keys = [synthetic(architecture={"kind": "layers", "layers": layers}).array_key for layers in (residual, other)]

    assert keys[0] != keys[1]


def test_networks_that_name_layers_differently_are_not_trained_as_one_array_with_rates_by_name() -> None:
    def key(first: str, second: str, **optimizer: Any) -> str:
        layers = [{**LINEAR, "name": first}, {"kind": "activation"}, {**LINEAR, "name": second}]
        return synthetic(architecture={"kind": "layers", "layers": layers}, optimizer=optimizer).shape_key

    assert key("a", "b", rates={"a": 0.5}) != key("b", "a", rates={"a": 0.5})
    assert key("a", "b") == key("b", "a")
