"""A graph of layers as a torch module, and the layers that PyTorch does not have. Needs only torch.

The class of a layer takes the fields of the layer of the same name in `service/spec/layers` as keyword arguments. In a
bundle this file is called layers.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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


class Embedding(nn.Module):
    """A vector for each code of each column, side by side; code 0 has the zero vector, which is not trained.

    Each table starts uniform between -1 and 1 over the square root of its size.
    """

    def __init__(self, shape: Sequence[int], categories: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__()
        self.shapes = list(zip(categories, sizes, strict=True))
        tables = [torch.empty(codes, size).uniform_(-1.0, 1.0) * size**-0.5 for codes, size in self.shapes]
        for table in tables:
            table[0] = 0.0
        self.weight = nn.Parameter(torch.cat([table.flatten() for table in tables]))

    @property
    def tables(self) -> list[Tensor]:
        """The vectors of each column: (codes, size)."""
        parts = torch.split(self.weight, [codes * size for codes, size in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def forward(self, codes: Tensor) -> Tensor:
        """(B, columns) int64 -> (B, sum of the sizes)."""
        tables = enumerate(self.tables)
        return torch.cat([functional.embedding(codes[:, place], table, padding_idx=0) for place, table in tables], 1)


class Scaling(nn.Module):
    """Multiplies each value by a learnable factor, 1 at first."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*shape))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, *shape)."""
        return x * self.weight


class Periodic(nn.Module):
    """All inputs, then w2 cos(2 pi w1 x + b1) + b2 of the numbers x of some columns: PBLD, arXiv 2407.04491.

    Initial values: w1 normal with deviation sigma, b1 uniform up to pi, w2 and b2 up to 1 over the square root of the
    number of frequencies.
    """

    def __init__(self, shape: Sequence[int], columns: Sequence[int], frequencies: int, sigma: float) -> None:
        super().__init__()
        self.columns = list(columns)
        number, bound = len(columns), frequencies**-0.5
        self.frequency = nn.Parameter(torch.randn(number, frequencies) * sigma)
        self.phase = nn.Parameter(torch.empty(number, frequencies).uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(torch.empty(number, 3, frequencies).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(number, 3).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) -> (B, features + 3 x columns)."""
        angles = x[:, self.columns].unsqueeze(2) * (2 * math.pi * self.frequency) + self.phase
        learned = torch.einsum("bcf,ckf->bck", torch.cos(angles), self.weight) + self.bias
        return torch.cat([x, learned.flatten(1)], 1)
