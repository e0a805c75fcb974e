"""The plain torch module of a layer list, and the weights that training starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from service.spec.architecture import Activation
from service.spec.layers import Activate, BatchNorm, Dropout, Layer, Linear

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
    """A layer list as a module; its state dict's keys are `layers.N.weight`, ..."""

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
    """The weights that `torch.manual_seed(seed)` and then `build(layers)` give; the caller's generator stays put."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(layers).state_dict()


def _module(layer: Layer) -> nn.Module:
    match layer:
        case Linear():
            return nn.Linear(layer.inputs, layer.outputs)
        case BatchNorm():
            return nn.BatchNorm1d(layer.inputs, eps=layer.eps, momentum=layer.momentum)
        case Activate():
            return ACTIVATIONS[layer.function]()
        case Dropout():
            return nn.Dropout(layer.probability)
