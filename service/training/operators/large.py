"""Large linear layers on a CPU: member by member, in pieces that several threads compute (see shards.py).

`is_large` decides for all layers, by the layer's shape alone. Small layers keep the operators that compute all members
at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec import layers as spec
from service.training import shards
from service.training.operators import flat
from service.training.operators.flat import to_bf16

if TYPE_CHECKING:
    from service.spec.layers import Layer
    from service.training.operators.base import Parameter

LARGE_WEIGHTS = 2**17
"""Weights of a linear layer from which on it is large."""
LARGE_VALUES = 2**13
"""Values per row, of an input or output, from which on a layer of images or sequences is large."""
_ONEDNN = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def is_large(layer: Layer) -> bool:
    """Whether the layer has an operator of this module."""
    match layer:
        case spec.Linear():
            return padded(layer.inputs) * padded(layer.outputs) >= LARGE_WEIGHTS
        case spec.Convolution() | spec.Pool():
            return max(layer.inputs, layer.outputs) >= LARGE_VALUES
        case spec.BatchNorm():
            return len(layer.shape) > 1 and layer.inputs >= LARGE_VALUES
    return False


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, of 2-D tensors. MKL, which `torch.mm` calls, takes twice the time of oneDNN on CPUs of AMD."""
    if _ONEDNN:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return made
    return F.linear(x, weight, bias)


class Linear(flat.Linear):
    """A linear layer in pieces of its outputs, and of its inputs for their gradient."""

    def __init__(self, weight: Parameter, bias: Parameter, frozen_bias: bool, *, bf16_matmul: bool) -> None:
        super().__init__(weight, bias, frozen_bias, bf16_matmul=bf16_matmul)
        members, outputs, inputs = self._weight.shape
        self._count = shards.pieces_of(outputs * inputs)
        parts = shards.cut(outputs, self._count)
        self._outputs = [(member, part) for member in range(members) for part in parts]
        parts = shards.cut(inputs, self._count)
        self._inputs = [(member, part) for member in range(members) for part in parts]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        weight = self._weight
        if training:
            if self._bf16_matmul:
                x, weight = to_bf16(x), to_bf16(weight)
            self._x = x
        y = x.new_empty(*x.shape[:2], weight.shape[1])

        def piece(member: int, part: slice) -> None:
            y[member, :, part] = _product(x[member], weight[member, part], self._bias[member, 0, part])

        shards.run(piece, self._outputs)
        return y

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        self.backward_parameters(grad)
        weight = to_bf16(self._weight) if self._bf16_matmul else self._weight
        own = to_bf16(grad) if self._bf16_matmul else grad
        x_grad = grad.new_empty(*grad.shape[:2], weight.shape[2])

        def piece(member: int, part: slice) -> None:
            # oneDNN reorders the weights in every call: pieces of the rows would each reorder all of them.
            x_grad[member, :, part] = _product(own[member], weight[member, :, part].contiguous().mT)

        shards.run(piece, self._inputs)
        return x_grad

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        own = to_bf16(grad) if self._bf16_matmul else grad

        def piece(member: int, part: slice) -> None:
            # A copy: oneDNN has no fast kernel for part of a transposed matrix.
            self._weight_grad[member, part] = _product(own[member, :, part].contiguous().mT, self._x[member].mT)

        shards.run(piece, self._outputs)
        if not self._frozen_bias:
            torch.sum(grad, 1, keepdim=True, out=self._bias_grad)
