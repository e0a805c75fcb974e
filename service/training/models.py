"""The torch module of a graph of layers, and its initial weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from service.spec import layers as spec
from service.spec.graph import BLOCKS, Graph
from service.spec.layers import Activation, Layer
from service.training import modules

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.relu: nn.ReLU,
    Activation.leaky_relu: nn.LeakyReLU,
    Activation.elu: nn.ELU,
    Activation.gelu: nn.GELU,
    Activation.silu: nn.SiLU,
    Activation.tanh: nn.Tanh,
    Activation.sigmoid: nn.Sigmoid,
}
# By number of dimensions: 1 flat, 2 sequences (channels, length), 3 images (channels, height, width).
_CONVOLUTIONS: dict[int, type[nn.Module]] = {2: nn.Conv1d, 3: nn.Conv2d}
_NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}
_POOLS: dict[tuple[str, int], type[nn.Module]] = {
    ("max", 2): nn.MaxPool1d,
    ("max", 3): nn.MaxPool2d,
    ("avg", 2): nn.AvgPool1d,
    ("avg", 3): nn.AvgPool2d,
}
_OF_TORCH: dict[type[Layer], Callable[[Any], nn.Module]] = {
    spec.Linear: lambda x: nn.Linear(x.inputs, x.units),
    spec.Convolution: lambda x: _CONVOLUTIONS[len(x.shape)](
        x.shape[0], x.out_channels, x.kernel_size, x.stride, x.padding
    ),
    spec.BatchNorm: lambda x: _NORMS[len(x.shape)](x.shape[0], eps=x.eps, momentum=x.momentum),
    spec.LayerNorm: lambda x: nn.LayerNorm(x.shape, eps=x.eps),
    spec.Pool: lambda x: _POOLS[x.function, len(x.shape)](x.kernel_size, x.stride, x.padding),
    spec.Flatten: lambda x: nn.Flatten(),
    spec.Unflatten: lambda x: nn.Unflatten(1, x.to),
    spec.Activate: lambda x: ACTIVATIONS[x.function](),
    spec.Dropout: lambda x: nn.Dropout(x.p),
}
"""Layers whose module is one of PyTorch's."""


class Network(nn.Module):
    """A graph of layers as a torch module; the keys of its state dict are `layers.N.weight`, ..."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.layers = nn.ModuleList(module_of(layer) for layer in graph.layers)
        self._inputs = [node.inputs for node in graph.nodes]

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:
        """Logits, or standardized predictions; (B, outputs) float32.

        `numbers`: (B, inputs) float32; `codes`: (B, coded columns) int64, for a graph with such columns.
        """
        values = dict(zip(BLOCKS, (numbers, codes), strict=True))
        y: Any = numbers
        for place, (layer, inputs) in enumerate(zip(self.layers, self._inputs, strict=True)):
            y = values[f"layers.{place}"] = layer(*(values[name] for name in inputs))
        outputs: Tensor = y
        return outputs


def module_of(layer: Layer) -> nn.Module:
    """The module of one layer: one of PyTorch's, or the class of the layer's name in `modules`, with its fields."""
    kind = type(layer)
    if kind in _OF_TORCH:
        return _OF_TORCH[kind](layer)
    module: nn.Module = getattr(modules, kind.__name__)(**vars(layer))
    return module


def build(graph: Graph) -> Network:
    """The module of `graph`, with PyTorch's default initial weights drawn from the global generator."""
    return Network(graph)


def initial_state(graph: Graph, seed: int) -> dict[str, Tensor]:
    """The initial weights of `torch.manual_seed(seed); build(graph)`, without changing the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(graph).state_dict()
