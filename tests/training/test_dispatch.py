"""Any graph of layers computes what its torch module computes: values, gradients, and no argument is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from service.spec.architecture import Architecture
from service.spec.graph import Graph
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from service.training.array import NetworkArray
from service.training.dispatch import Dispatch
from service.training.models import build, initial_state
from service.training.operators import FAST
from tests.training.arrays import NETWORKS, TABULAR, layer_graphs

INPUTS, OUTPUTS, ROWS = 12, 3, 9
CPU = torch.device("cpu")


def graph_of(architecture: dict[str, Any]) -> Graph:
    """The graph without dropout, whose masks differ from those of the module."""
    plain = [layer for layer in architecture.get("layers", []) if layer["kind"] != "dropout"]
    if "layers" in architecture and all("inputs" not in layer for layer in plain):
        architecture = {**architecture, "layers": plain}
    if architecture["kind"] in ("resnet", "tabm"):
        architecture = {**architecture, "dropout": 0.0}
    architecture = {name: 0.0 if name.endswith("_dropout") else each for name, each in architecture.items()}
    for layer in architecture.get("layers", []):
        layer.update({"p": 0.0} if layer["kind"] == "dropout" else {})
    return lower(TypeAdapter(Architecture).validate_python(architecture), InputLayout(INPUTS), OUTPUTS)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@contextmanager
def by_autograd() -> Iterator[None]:
    """Every layer is computed by its torch module."""
    with patch.dict(FAST, clear=True):
        yield


def compare(graph: Graph, members: int) -> None:
    states = [initial_state(graph, seed) for seed in range(members)]
    array = NetworkArray([graph] * members, states, CPU)
    x, grad = drawn(members, ROWS, INPUTS), drawn(members, ROWS * graph.heads, OUTPUTS)
    at_outputs = torch.zeros_like(array.forward(array.pad(x), training=True))
    at_outputs[..., :OUTPUTS] = grad
    array = NetworkArray([graph] * members, states, CPU)
    with _arguments_unchanged(array):
        outputs = array.forward(array.pad(x), training=True)
        array.backward(at_outputs)
    gradients = array.named(array.gradient)
    for member, state in enumerate(states):
        network = build(graph).double().train()
        network.load_state_dict(state)
        expected = network(x[member].double())
        expected.backward(grad[member].double())
        torch.testing.assert_close(outputs[member, :, :OUTPUTS].double(), expected, atol=1e-4, rtol=1e-4)
        for key, parameter in network.named_parameters():
            if parameter.grad is None or key.removesuffix(".bias") in graph.frozen_biases:
                continue
            scale = max(1.0, float(parameter.grad.abs().max()))
            apart = (gradients[key][member].double() - parameter.grad).abs().max()
            assert apart <= 2e-4 * scale, key
        torch.testing.assert_close(
            array.state(member), network.float().state_dict(), atol=1e-4, rtol=1e-4
        )  # the running statistics too


@contextmanager
def _arguments_unchanged(array: NetworkArray) -> Iterator[None]:
    """No operator changes its inputs or the gradient at its output."""
    seen: list[tuple[Tensor, Tensor]] = []

    def watched(function: Any) -> Any:
        def call(first: Any, *rest: Any) -> Any:
            tensors = [first] if isinstance(first, Tensor) else list(first)
            seen.extend((each, each.clone()) for each in tensors)
            return function(first, *rest)

        return call

    for operator in array._operators:
        for name in ("forward", "backward", "backward_parameters", "merge", "split"):
            if hasattr(operator, name):
                setattr(operator, name, watched(getattr(operator, name)))
    array._dispatch = Dispatch(array.graph, array._operators)
    yield
    for before, copy in seen:
        assert torch.equal(before, copy)


@settings(max_examples=40)
@given(NETWORKS)
def test_any_network_computes_what_its_module_computes(architecture: dict[str, Any]) -> None:
    compare(graph_of(architecture), 2)


@settings(max_examples=20)
@given(st.one_of(layer_graphs(), TABULAR))
def test_the_autograd_operator_computes_the_same(architecture: dict[str, Any]) -> None:
    with by_autograd():
        compare(graph_of(architecture), 2)


RESIDUAL: dict[str, Any] = {
    "kind": "layers",
    "layers": [
        {"kind": "linear", "out_features": 7, "name": "a"},
        {"kind": "batch_norm"},
        {"kind": "activation", "function": "relu"},
        {"kind": "linear", "out_features": 7, "name": "b"},
        {"kind": "add", "inputs": ["a", "b"], "name": "sum"},
        {"kind": "concat", "inputs": ["sum", "a", "numbers"]},
    ],
}


@pytest.mark.parametrize("members", [1, 2, 3, 16])
def test_a_residual_network_of_any_number_of_members(members: int) -> None:
    compare(graph_of(RESIDUAL), members)


def test_evaluation_frees_values_that_no_later_layer_takes() -> None:
    graph = graph_of({"kind": "layers", "layers": [{"kind": "linear", "out_features": 7}] * 5})
    array = NetworkArray([graph], [initial_state(graph, 0)], CPU)

    assert all(step.last_use == step.inputs for step in array._dispatch._forward)
