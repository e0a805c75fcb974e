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


class EnsembleInput(nn.Module):
    """Copies each row for each head, times the head's scale; the first head's rows come first."""

    def __init__(self, shape: Sequence[int], heads: int, draws: Sequence[int]) -> None:
        super().__init__()
        signs = torch.randint(0, 2, (heads, max(draws) + 1 if draws else shape[0])) * 2.0 - 1.0
        self.weight = nn.Parameter(signs[:, list(draws)] if draws else signs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) -> (heads * B, features)."""
        return (x * self.weight.unsqueeze(1)).flatten(0, 1)


class EnsembleLinear(nn.Module):
    """s * (W (r * x)) + b, with scales r and s and bias b of each head; all heads have the same initial bias."""

    def __init__(self, shape: Sequence[int], units: int, heads: int, scales_input: bool) -> None:
        super().__init__()
        bound = shape[0] ** -0.5
        self.heads = heads
        self.weight = nn.Parameter(torch.empty(units, shape[0]).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(units).uniform_(-bound, bound).repeat(heads, 1))
        self.scale_in = nn.Parameter(torch.ones(heads, shape[0])) if scales_input else None
        self.scale_out = nn.Parameter(torch.ones(heads, units))

    def forward(self, x: Tensor) -> Tensor:
        """(heads * B, features) -> (heads * B, units)."""
        rows = x.reshape(self.heads, -1, x.shape[1])
        if self.scale_in is not None:
            rows = rows * self.scale_in.unsqueeze(1)
        rows = functional.linear(rows, self.weight) * self.scale_out.unsqueeze(1) + self.bias.unsqueeze(1)
        return rows.flatten(0, 1)


class EnsembleOutput(nn.Module):
    """A linear layer for each head; in evaluation mode the mean over the heads."""

    def __init__(self, shape: Sequence[int], units: int, heads: int, probabilities: bool) -> None:
        super().__init__()
        bound = shape[0] ** -0.5
        self.heads, self.probabilities = heads, probabilities
        self.weight = nn.Parameter(torch.empty(heads, units, shape[0]).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(heads, units).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(heads * B, features) -> (heads * B, units) in training, (B, units) in evaluation."""
        y = torch.bmm(x.reshape(self.heads, -1, x.shape[1]), self.weight.mT) + self.bias.unsqueeze(1)
        if self.training:
            return y.flatten(0, 1)
        if self.probabilities:
            return torch.logsumexp(torch.log_softmax(y, 2), 0) - math.log(self.heads)
        return y.mean(0)


class FeatureTokenizer(nn.Module):
    """A token for each number and each category code, behind the [CLS] token."""

    def __init__(self, shape: Sequence[int], categories: Sequence[int], width: int) -> None:
        super().__init__()
        bound = width**-0.5

        def drawn(*sizes: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*sizes).uniform_(-bound, bound))

        self.cls = drawn(width)
        self.bias = drawn(shape[0] + len(categories), width)
        self.weight = drawn(shape[0], width) if shape[0] else None
        self.table = drawn(sum(categories), width) if categories else None
        self.starts = [sum(categories[:place]) for place in range(len(categories))]

    def forward(self, *blocks: Tensor) -> Tensor:
        """numbers (B, numbers) and codes (B, columns), as far as there are such -> (B, tokens, width)."""
        tokens = []
        if self.weight is not None:
            tokens.append(blocks[0].unsqueeze(2) * self.weight)
        if self.table is not None:
            codes = blocks[-1]
            places = codes + torch.tensor(self.starts, device=codes.device)
            tokens.append(functional.embedding(places, self.table) * (codes > 0).unsqueeze(2))
        # Padding does not name the number of rows, which an ONNX file may have to take from an unused input.
        return functional.pad(torch.cat(tokens, 1), (0, 0, 1, 0)) + torch.cat([self.cls.unsqueeze(0), self.bias])


class TransformerBlock(nn.Module):
    """A pre-norm transformer block; see the layer of this name for its options."""

    def __init__(
        self,
        shape: Sequence[int],
        heads: int,
        ffn_width: int,
        ffn_activation: str,
        norm: bool,
        first_token: bool,
        **dropout: float,
    ) -> None:
        super().__init__()
        width = shape[1]
        self.heads, self.first_token, self.dropout = heads, first_token, dropout
        self.gated = ffn_activation == "reglu"
        self.attention_norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)  # the softmax of attention would remove a bias
        self.out = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn_in = nn.Linear(width, ffn_width * (2 if self.gated else 1))
        self.ffn_out = nn.Linear(ffn_width, width)
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight, gain=0.5**0.5)
        for linear in (self.query, self.value, self.out):
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, width) -> the same shape, or (B, width) of the first token."""
        tokens = self.attention_norm(x)
        if self.first_token:
            x = x[:, :1]
        x = x + self._dropped(self._attention(tokens[:, : x.shape[1]], tokens), "residual")
        hidden = self.ffn_in(self.ffn_norm(x))
        if self.gated:
            values, gates = hidden.chunk(2, -1)
            hidden = values * torch.relu(gates)
        else:
            hidden = torch.relu(hidden)
        x = x + self._dropped(self.ffn_out(self._dropped(hidden, "ffn")), "residual")
        return x[:, 0] if self.first_token else x

    def _attention(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V of each head; asking: (B, those that get an answer, width)."""
        query, key, value = (
            linear(each).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear, each in ((self.query, asking), (self.key, tokens), (self.value, tokens))
        )
        weights = torch.softmax(query @ key.transpose(2, 3) / query.shape[3] ** 0.5, 3)
        answers: Tensor = self.out((self._dropped(weights, "attention") @ value).transpose(1, 2).flatten(2))
        return answers

    def _dropped(self, x: Tensor, where: str) -> Tensor:
        return functional.dropout(x, self.dropout[f"{where}_dropout"], self.training)


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
