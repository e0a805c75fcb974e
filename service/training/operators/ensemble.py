"""Layers of ensembles that share weights, of K networks at once, with hand-written gradients.

Between input and output a batch has heads x B rows, (K, heads * B, F): all rows of the first head, then all of the
second. So one product with the shared weight serves all heads, and a view (K, heads, B, F) separates them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine_constants import padded
from service.training.operators.flat import to_bf16

if TYPE_CHECKING:
    from service.spec import layers as spec
    from service.training.operators.base import Parameter, Slots

PADDING_LOGIT = -1e30
"""Its softmax is 0."""


class EnsembleInput:
    """A row for each head, times the head's scale; weight: (K, heads, F)."""

    def __init__(self, weight: Parameter) -> None:
        self._scale, self._scale_grad = (each.unsqueeze(2) for each in weight)
        self._x: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator; (K, B, F) -> (K, heads * B, F)."""
        if training:
            self._x = x
        return (x.unsqueeze(1) * self._scale).flatten(1, 2)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        self.backward_parameters(grad)
        return (_by_head(grad, self._scale.shape[1]) * self._scale).sum(1)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        own = _by_head(grad, self._scale.shape[1]) * self._x.unsqueeze(1)
        self._scale_grad.copy_(own.sum(2, keepdim=True))


class EnsembleLinear:
    """y = s * (W (r * x)) + b; W: (K, outputs, inputs), r: (K, heads, inputs), s and b: (K, heads, outputs)."""

    def __init__(self, slots: Slots) -> None:
        parameters = slots.parameters
        self._weight, self._weight_grad = parameters["weight"]
        self._bias, self._bias_grad = (each.unsqueeze(2) for each in parameters["bias"])
        self._scale_out, self._scale_out_grad = (each.unsqueeze(2) for each in parameters["scale_out"])
        scale_in = parameters.get("scale_in")
        self._scale_in = None if scale_in is None else scale_in.value.unsqueeze(2)
        self._scale_in_grad = None if scale_in is None else scale_in.grad.unsqueeze(2)
        self._heads, self._bf16_matmul = slots.layer.heads, slots.bf16_matmul
        self._saved: tuple[Tensor, Tensor, Tensor]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator; (K, heads * B, inputs) -> (K, heads * B, outputs)."""
        scaled = x if self._scale_in is None else (_by_head(x, self._heads) * self._scale_in).flatten(1, 2)
        y = _product(scaled, self._weight.mT, training and self._bf16_matmul)
        if training:
            self._saved = x, scaled, y
        return torch.addcmul(self._bias, _by_head(y, self._heads), self._scale_out).flatten(1, 2)

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        x, _, _ = self._saved
        along = _product(self._weight_gradient(grad), self._weight, self._bf16_matmul)
        if self._scale_in is None or self._scale_in_grad is None:
            return along
        by_head = _by_head(along, self._heads)
        self._scale_in_grad.copy_((by_head * _by_head(x, self._heads)).sum(2, keepdim=True))
        return (by_head * self._scale_in).flatten(1, 2)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        if self._scale_in is None:
            self._weight_gradient(grad)
        else:
            self.backward(grad)

    def _weight_gradient(self, grad: Tensor) -> Tensor:
        """Compute the gradients of W, s and b; returns that of the product W (r * x)."""
        _, scaled, y = self._saved
        by_head = _by_head(grad, self._heads)
        self._bias_grad.copy_(by_head.sum(2, keepdim=True))
        self._scale_out_grad.copy_((by_head * _by_head(y, self._heads)).sum(2, keepdim=True))
        of_product = (by_head * self._scale_out).flatten(1, 2)
        self._weight_grad.copy_(_product(of_product.mT, scaled, self._bf16_matmul))
        return of_product


class EnsembleOutput:
    """A linear layer for each head, and in evaluation the mean over the heads.

    weight: (K, heads, outputs, inputs) and bias: (K, heads, outputs), without padding of the outputs, which would take
    most of the memory of a small network with many heads. The products use padded copies, whose rows are aligned.
    """

    def __init__(self, weight: Parameter, bias: Parameter, layer: spec.EnsembleOutput, *, bf16_matmul: bool) -> None:
        self._weight, self._weight_grad = weight
        self._bias, self._bias_grad = bias
        self._units, self._heads, self._probabilities = layer.units, layer.heads, layer.probabilities
        self._padding = padded(layer.units) - layer.units
        self._bf16_matmul = bf16_matmul
        self._x: Tensor
        self._padded_weight: Tensor

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """See Operator; (K, heads * B, inputs) -> (K, heads * B, outputs) in training, else (K, B, outputs)."""
        members = len(x)
        weight = F.pad(self._weight, (0, 0, 0, self._padding)).flatten(0, 1)
        bias = F.pad(self._bias, (0, self._padding)).view(members * self._heads, 1, -1)
        rows = x.view(members * self._heads, -1, x.shape[2])
        y = _product(rows, weight.mT, training and self._bf16_matmul).add_(bias)
        if training:
            self._x, self._padded_weight = rows, weight
            return y.view(members, -1, y.shape[2])
        by_head = y.view(members, self._heads, -1, y.shape[2])
        return self._mean_probabilities(by_head) if self._probabilities else by_head.mean(1)

    def _mean_probabilities(self, logits: Tensor) -> Tensor:
        """The logarithm of the mean over the heads of the probabilities; (K, heads, B, outputs) -> (K, B, outputs)."""
        logits[..., self._units :] = PADDING_LOGIT
        log_p = torch.log_softmax(logits, 3)
        largest = log_p.amax(1, keepdim=True)
        mean = (log_p - largest).exp_().mean(1).log_().add_(largest.squeeze(1))
        mean[..., self._units :] = 0.0
        return mean

    def backward(self, grad: Tensor) -> Tensor:
        """See Operator."""
        rows = self._of_parameters(grad)
        return _product(rows, self._padded_weight, self._bf16_matmul).view(*grad.shape[:2], -1)

    def backward_parameters(self, grad: Tensor) -> None:
        """See Trained."""
        self._of_parameters(grad)

    def _of_parameters(self, grad: Tensor) -> Tensor:
        """Compute the gradients of weight and bias; returns `grad` by member and head, (K * heads, B, outputs)."""
        rows = grad.view(len(grad) * self._heads, -1, grad.shape[2])
        of_weight = _product(rows.mT, self._x, self._bf16_matmul)
        self._weight_grad.copy_(of_weight.view(len(grad), self._heads, *of_weight.shape[1:])[:, :, : self._units])
        self._bias_grad.copy_(rows.sum(1).view(len(grad), self._heads, -1)[..., : self._units])
        return rows


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(K, heads * B, F) -> (K, heads, B, F), a view."""
    return x.view(len(x), heads, -1, x.shape[2])


def _product(one: Tensor, other: Tensor, bf16: bool) -> Tensor:
    """torch.bmm, with factors rounded to bfloat16 if asked; the result is float32."""
    return torch.bmm(to_bf16(one), to_bf16(other)).float() if bf16 else torch.bmm(one, other)
