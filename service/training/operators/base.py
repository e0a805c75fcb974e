"""What an operator is: one layer of K networks at once, with forward pass and gradient.

Activations are (K, B, *shape) float32, contiguous: member, row, values. The features of flat layers are padded to a
multiple of 32, and the padding stays 0. An operator leaves its arguments unchanged: others may hold them too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from torch import Generator, Tensor

if TYPE_CHECKING:
    from service.spec.layers import Shape


class Operator(Protocol):
    """A layer with one input."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """x: (K, B, inputs) -> (K, B, outputs). With `training`, saves what `backward` needs."""
        ...

    def backward(self, grad: Tensor) -> Tensor:
        """Compute the gradients of parameters and input; gradient of the loss (K, B, outputs) -> (K, B, inputs)."""
        ...


@runtime_checkable
class MergeOperator(Protocol):
    """A layer with any number of inputs, of which some may be codes, which have no gradient."""

    def merge(self, inputs: Sequence[Tensor], training: bool) -> Tensor:
        """Inputs (K, B, ...) each -> (K, B, outputs). With `training`, saves what `split` needs."""
        ...

    def split(self, grad: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        """Compute the gradients of the parameters and of the inputs that are `wanted`; grad: (K, B, outputs)."""
        ...


@runtime_checkable
class Trained(Operator, Protocol):
    """A layer with parameters."""

    def backward_parameters(self, grad: Tensor) -> None:
        """Compute the gradients of the parameters only: enough where nothing before is trained."""
        ...


@runtime_checkable
class Random(Protocol):
    """A layer that draws random numbers in training."""

    generators: list[Generator]
    """One for each member."""


@runtime_checkable
class Statistics(Protocol):
    """A layer with running statistics of its inputs, for evaluation."""

    batches_averaged: int | None
    """Unless None, an evaluation normalizes by the batch, as training does, and the running statistics become the mean
    over so many earlier batches and this one."""


class Parameter(NamedTuple):
    """Views of a parameter of K networks and of its gradient, both (K, *padded shape)."""

    value: Tensor
    grad: Tensor


@dataclass(frozen=True)
class Slots:
    """What an operator is made of: a layer's settings, and its place in the array's tensors."""

    layers: Sequence[Any]
    """The layer of each member; they differ in the probability of dropout alone."""
    parameters: dict[str, Parameter]
    """By the names in the layer's module."""
    buffers: dict[str, Tensor]
    """(K, *padded shape), by the names in the layer's module."""
    input_shapes: Sequence[Shape]
    """The shape of a row of each input."""
    frozen_bias: bool = False
    """The bias gets no gradient."""
    bf16_matmul: bool = False
    """Training rounds the factors of matrix products to bfloat16."""
    on_gpu: bool = False
    sum_over_ranks: Callable[[Tensor], Tensor] | None = None
    """Of a job on several devices: batch normalization takes the statistics of all ranks' rows."""

    @property
    def layer(self) -> Any:
        """The layer of the first member."""
        return self.layers[0]

    @property
    def pair(self) -> tuple[Parameter, Parameter]:
        """Weight and bias."""
        return self.parameters["weight"], self.parameters["bias"]
