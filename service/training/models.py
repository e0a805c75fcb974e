"""The torch module of a layer list, and its initial weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from service.spec.layer_specs import Activation
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
    Unflatten,
)

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.relu: nn.ReLU,
    Activation.leaky_relu: nn.LeakyReLU,
    Activation.elu: nn.ELU,
    Activation.gelu: nn.GELU,
    Activation.silu: nn.SiLU,
    Activation.tanh: nn.Tanh,
    Activation.sigmoid: nn.Sigmoid,
}


class Network(nn.Module):
    """A layer list as a torch module; the keys of its state dict are `layers.N.weight`, ..."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or standardized predictions; x: (B, inputs) float32 -> (B, outputs) float32."""
        outputs: Tensor = self.layers(x)
        return outputs


def build(layers: Sequence[Layer]) -> Network:
    """The module of `layers`, with PyTorch's default initial weights drawn from the global generator."""
    return Network(nn.Sequential(*(_module(layer) for layer in layers)))


def initial_state(layers: Sequence[Layer], seed: int) -> dict[str, Tensor]:
    """The initial weights of `torch.manual_seed(seed); build(layers)`, without changing the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(layers).state_dict()


# By number of dimensions: 1 flat, 2 sequences (channels, length), 3 images (channels, height, width).
_CONVOLUTIONS: dict[int, type[nn.Module]] = {2: nn.Conv1d, 3: nn.Conv2d}
_NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}
_POOLS: dict[tuple[str, int], type[nn.Module]] = {
    ("max", 2): nn.MaxPool1d,
    ("max", 3): nn.MaxPool2d,
    ("avg", 2): nn.AvgPool1d,
    ("avg", 3): nn.AvgPool2d,
}


def _module(layer: Layer) -> nn.Module:
    match layer:
        case Linear():
            return nn.Linear(layer.inputs, layer.units)
        case Convolution():
            window = layer.kernel_size, layer.stride, layer.padding
            return _CONVOLUTIONS[len(layer.shape)](layer.shape[0], layer.out_channels, *window)
        case BatchNorm():
            return _NORMS[len(layer.shape)](layer.shape[0], eps=layer.eps, momentum=layer.momentum)
        case LayerNorm():
            return nn.LayerNorm(layer.shape, eps=layer.eps)
        case Pool():
            return _POOLS[layer.function, len(layer.shape)](layer.kernel_size, layer.stride, layer.padding)
        case Flatten():
            return nn.Flatten()
        case Unflatten():
            return nn.Unflatten(1, layer.to)
        case Activate():
            return ACTIVATIONS[layer.function]()
        case Dropout():
            return nn.Dropout(layer.p)
