"""The torch module of a graph of layers, and its initial weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from service.spec import layers as spec
from service.spec.graph import Graph
from service.spec.layers import Activation, Layer
from service.training.modules import Described, Network, module, network

Options = dict[str, Any]

_GENERATOR_LOCK = Lock()  # of the global generator, which all threads share

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.relu: nn.ReLU,
    Activation.leaky_relu: nn.LeakyReLU,
    Activation.elu: nn.ELU,
    Activation.gelu: nn.GELU,
    Activation.silu: nn.SiLU,
    Activation.tanh: nn.Tanh,
    Activation.sigmoid: nn.Sigmoid,
}


def _convolution(x: spec.Convolution) -> tuple[str, Options]:
    window = {"kernel_size": x.kernel_size, "stride": x.stride, "padding": x.padding}
    return f"Conv{_sides(x)}d", {"in_channels": x.shape[0], "out_channels": x.out_channels, **window}


def _batch_norm(x: spec.BatchNorm) -> tuple[str, Options]:
    options = {"num_features": x.shape[0], "eps": x.eps, "momentum": x.momentum}
    return f"BatchNorm{max(1, _sides(x))}d", options


def _pool(x: spec.Pool) -> tuple[str, Options]:
    options = {"kernel_size": x.kernel_size, "stride": x.stride, "padding": x.padding}
    return f"{x.function.title()}Pool{_sides(x)}d", options


def _sides(layer: Layer) -> int:
    """0 for flat rows, 1 for sequences (channels, length), 2 for images (channels, height, width)."""
    return len(layer.shape) - 1


_OF_TORCH: dict[type[Layer], Callable[[Any], tuple[str, Options]]] = {
    spec.Linear: lambda x: ("Linear", {"in_features": x.inputs, "out_features": x.units}),
    spec.Convolution: _convolution,
    spec.BatchNorm: _batch_norm,
    spec.LayerNorm: lambda x: ("LayerNorm", {"normalized_shape": x.shape, "eps": x.eps}),
    spec.Pool: _pool,
    spec.Flatten: lambda x: ("Flatten", {}),
    spec.Unflatten: lambda x: ("Unflatten", {"dim": 1, "unflattened_size": x.to}),
    spec.Activate: lambda x: (ACTIVATIONS[x.function].__name__, {}),
    spec.Dropout: lambda x: ("Dropout", {"p": x.p}),
}
"""Layers whose module is one of PyTorch's: its name in torch.nn, and the arguments of its constructor."""


def describe(graph: Graph) -> list[Described]:
    """Each layer's module, for `modules.network`."""
    return [{**_described(node.layer), "inputs": list(node.inputs)} for node in graph.nodes]


def module_of(layer: Layer) -> nn.Module:
    """The module of one layer."""
    return module(_described(layer))


def build(graph: Graph) -> Network:
    """The module of `graph`, with PyTorch's default initial weights drawn from the global generator."""
    return network(describe(graph))


def initial_state(graph: Graph, seed: int) -> dict[str, Tensor]:
    """The initial weights of `torch.manual_seed(seed); build(graph)`, without changing the global generator."""
    with _GENERATOR_LOCK, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(graph).state_dict()


def _described(layer: Layer) -> Described:
    """One of PyTorch's modules, or the class of the layer's name in `modules`, with the layer's fields."""
    kind = type(layer)
    if kind in _OF_TORCH:
        name, options = _OF_TORCH[kind](layer)
    else:
        name, options = kind.__name__, {field.name: getattr(layer, field.name) for field in fields(layer)}
    return {"module": name, "options": options}
