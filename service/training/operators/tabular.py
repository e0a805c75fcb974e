"""Layers on the columns of tables, of K networks at once: embeddings of codes, periodic embeddings, scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec import layers as spec
from service.training.operators.base import Parameter


class Embedding:
    """The vectors of codes, (K, B, columns) int64 -> (K, B, padded values); weight: (K, padded values of the tables).

    Each output value is gathered by its index in the tables, so that one kernel serves all columns and members.
    """

    def __init__(self, weight: Parameter, layer: spec.Embedding) -> None:
        self._weight, self._grad = weight
        device, sizes = self._weight.device, layer.sizes
        starts = list(accumulate((n * size for n, size in zip(layer.categories, sizes, strict=True)), initial=0))
        columns = [column for column, size in enumerate(sizes) for _ in range(size)]
        places = [start + place for start, size in zip(starts, sizes, strict=False) for place in range(size)]
        # The padding takes the first value of the zero vector of the first column, whatever the code.
        padding = [0] * (padded(len(places)) - len(places))
        self._columns = torch.tensor(columns + padding, device=device)
        self._strides = torch.tensor([sizes[column] for column in columns] + padding, device=device)
        self._places = torch.tensor(places + padding, device=device)
        self._zeros = torch.tensor(places, device=device)  # the zero vectors, which are not trained
        self._index: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator; `x`: the codes."""
        index = x.index_select(2, self._columns).mul_(self._strides).add_(self._places)
        if training:
            self._index = index
        return self._weight.gather(1, index.flatten(1)).view(index.shape)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator; codes have no gradient, so it is empty."""
        self.backward_parameters(grad)
        return grad.new_empty(0)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        index, values = self._index.flatten(1), grad.flatten(1)
        self._grad.zero_()
        if grad.is_cuda:  # scatter_add_ would add in any order; this sorts
            members = torch.arange(len(grad), device=grad.device).unsqueeze(1)
            self._grad.index_put_((members, index), values, accumulate=True)
        else:
            self._grad.scatter_add_(1, index, values)
        self._grad.index_fill_(1, self._zeros, 0.0)


class Scaling:
    """Multiplication of each value by a factor; weight: (K, padded features)."""

    def __init__(self, weight: Parameter) -> None:
        self._weight, self._grad = (each.unsqueeze(1) for each in weight)
        self._x: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        if training:
            self._x = x
        return x * self._weight

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        self.backward_parameters(grad)
        return grad * self._weight

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self._grad.copy_((grad * self._x).sum(1, keepdim=True))


class Periodic:
    """Periodic embeddings: (K, B, padded features) -> (K, B, padded features + 3 x columns).

    frequency and phase: (K, C, F); weight: (K, C, 3, F); bias: (K, C, 3). Computed as K * C small products, a column of
    a member each: block-diagonal products of whole members took nearly twice the time. Rows of the small matrices are
    padded to 64 bytes, because the bits of a product depend on alignment.
    """

    def __init__(self, parameters: Mapping[str, Parameter], layer: spec.Periodic) -> None:
        self._parameters, self._layer = parameters, layer
        self._columns = torch.tensor(layer.columns, device=parameters["bias"].value.device)
        self._saved: tuple[Tensor, Tensor, Tensor]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator."""
        members, rows, _ = x.shape
        features, outputs = self._layer.inputs, self._layer.outputs
        values = x.index_select(2, self._columns).mT.reshape(-1, rows, 1)  # (K * C, B, 1)
        angles = torch.baddbmm(self._of("phase", 1), values, self._of("frequency", 1) * (2 * pi))
        cosines = self._by_member(torch.cos, angles)
        learned = torch.baddbmm(self._of("bias", 1), cosines, self._of("weight", 3).mT)  # (K * C, B, 3)
        if training:
            self._saved = values, angles, cosines
        y = x.new_zeros(members, rows, padded(outputs))
        y[..., :features] = x[..., :features]
        by_row = learned.view(members, -1, *learned.shape[1:]).transpose(1, 2)
        y[..., features:outputs] = by_row.flatten(2)
        return y

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        of_angles = self._backward(grad)
        factors = F.pad(self._of("frequency", 1) * (2 * pi), (0, 0, 0, spec.ALIGNED - 1))
        own = torch.bmm(of_angles, factors.mT)[..., :1]  # (K * C, B, 1)
        features = self._layer.inputs
        x_grad = grad.new_zeros(*grad.shape[:2], padded(features))
        x_grad[..., :features] = grad[..., :features]
        # Each column is there once, so that the order of additions does not matter.
        x_grad[..., self._columns] += own.reshape(len(grad), -1, grad.shape[1]).mT
        return x_grad

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self._backward(grad)

    def _backward(self, grad: Tensor) -> Tensor:
        """Compute the gradients of the parameters; returns that of the angles, (K * C, B, F)."""
        values, angles, cosines = self._saved
        learned = grad[..., self._layer.inputs : self._layer.outputs]
        by_column = learned.reshape(*grad.shape[:2], -1, spec.COMPONENTS).transpose(1, 2)
        own = by_column.flatten(0, 1)  # (K * C, B, 3)
        self._keep("bias", grad.sum(1)[:, self._layer.inputs : self._layer.outputs])
        self._keep("weight", torch.bmm(own.mT, cosines))
        of_cosines = torch.bmm(own, self._of("weight", 3))
        of_angles = of_cosines.mul_(self._by_member(torch.sin, angles)).neg_()
        self._keep("phase", of_angles.sum(1))
        self._keep("frequency", torch.bmm(values.mT, of_angles).mul_(2 * pi))
        return of_angles

    def _of(self, name: str, rows: int) -> Tensor:
        """A parameter as a matrix (rows, 3 or padded F) of each column of each member."""
        value = self._parameters[name].value
        matrices = value.reshape(-1, rows, value.shape[-1])
        return matrices if name == "bias" else F.pad(matrices, (0, -matrices.shape[2] % spec.ALIGNED))

    def _keep(self, name: str, grad: Tensor) -> None:
        """Store the gradient of a parameter, without padding."""
        own = self._parameters[name].grad
        own.copy_(grad[..., : own.shape[-1]].reshape(own.shape) if name != "bias" else grad.view(own.shape))

    def _by_member(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """function(x), with each member's values padded: an element-wise kernel rounds its remainder differently."""
        members = len(self._parameters["bias"].value)
        values = x.numel() // members
        if values == padded(values):
            return function(x)
        return function(F.pad(x.view(members, -1), (0, padded(values) - values)))[:, :values].reshape(x.shape)
