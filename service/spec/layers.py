"""The one layer list: every architecture as plain layer descriptions with their shapes, in pure Python.

From it come the shape check and the parameter count at submission, the torch module and the batched array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from service.spec.architecture import Activation, Architecture


@dataclass(frozen=True)
class Linear:
    """y = x W^T + b; x: (B, inputs), y: (B, outputs)."""

    inputs: int
    outputs: int
    kind = "linear"

    @property
    def parameters(self) -> int:
        """Number of trained values: weight (outputs, inputs) and bias (outputs)."""
        return self.inputs * self.outputs + self.outputs


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalization of each of `inputs` features over the batch (Ioffe and Szegedy, 2015)."""

    inputs: int
    eps: float = 1e-5
    momentum: float = 0.1
    kind = "batch_norm"

    @property
    def outputs(self) -> int:
        """Same as `inputs`."""
        return self.inputs

    @property
    def parameters(self) -> int:
        """Scale and shift; the running mean and variance are buffers, not parameters."""
        return 2 * self.inputs


@dataclass(frozen=True)
class Activate:
    """An element-wise non-linearity."""

    inputs: int
    function: Activation
    kind = "activation"
    parameters = 0

    @property
    def outputs(self) -> int:
        """Same as `inputs`."""
        return self.inputs


@dataclass(frozen=True)
class Dropout:
    """Zeroes each value with `probability` in training and scales the rest by 1 / (1 - probability)."""

    inputs: int
    probability: float
    kind = "dropout"
    parameters = 0

    @property
    def outputs(self) -> int:
        """Same as `inputs`."""
        return self.inputs


Layer: TypeAlias = Linear | BatchNorm | Activate | Dropout


def lower(architecture: Architecture, inputs: int, outputs: int) -> tuple[Layer, ...]:
    """The layers of `architecture` from `inputs` features to `outputs` values (logits, or one number)."""
    layers: list[Layer] = []
    width = inputs
    for hidden in architecture.hidden:
        layers.append(Linear(width, hidden))
        if architecture.batch_norm:
            norm = BatchNorm(hidden, architecture.batch_norm_eps, architecture.batch_norm_momentum)
            layers.append(norm)
        layers.append(Activate(hidden, architecture.activation))
        if architecture.dropout > 0:
            layers.append(Dropout(hidden, architecture.dropout))
        width = hidden
    layers.append(Linear(width, outputs))
    return tuple(layers)


def count_parameters(layers: tuple[Layer, ...]) -> int:
    """How many trained values the layers hold together."""
    return sum(layer.parameters for layer in layers)
