"""A graph of layers as a torch module, and the layers that PyTorch does not have. Needs only torch.

The class of a layer takes the fields of the layer of the same name in `service/spec/layers` as keyword arguments. In a
bundle this file is called layers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

Described = dict[str, Any]
"""`module`: the name of a class here or in torch.nn; `options`: the arguments of its constructor; `inputs`: the names
of what it takes: `layers.N`, or the blocks `numbers` and `codes`."""


class Network(nn.Module):
    """Layers that take the outputs of earlier layers; the keys of its state dict are `layers.N.weight`, ..."""

    def __init__(self, layers: Sequence[nn.Module], inputs: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.inputs = [tuple(names) for names in inputs]

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:
        """Logits, or standardized predictions; (B, outputs) float32.

        `numbers`: (B, inputs) float32; `codes`: (B, coded columns) int64, for a network that reads codes.
        """
        values: dict[str, Any] = {"numbers": numbers, "codes": codes}
        y: Any = numbers
        for place, (layer, names) in enumerate(zip(self.layers, self.inputs, strict=True)):
            y = values[f"layers.{place}"] = layer(*[values[name] for name in names])
        outputs: Tensor = y
        return outputs


def network(described: Sequence[Described]) -> Network:
    """The module of a graph of layers."""
    return Network([module(each) for each in described], [each["inputs"] for each in described])


def module(described: Described) -> nn.Module:
    """The module of one layer."""
    name = described["module"]
    kind = globals().get(name) or getattr(nn, name)
    made: nn.Module = kind(**described["options"])
    return made


class Add(nn.Module):
    """The sum of its inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, *shape) each -> (B, *shape)."""
        total = inputs[0]
        for each in inputs[1:]:
            total = total + each
        return total


class Concat(nn.Module):
    """Its inputs one behind another."""

    def __init__(self, shape: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, width) each -> (B, sum of the widths)."""
        return torch.cat(inputs, 1)
