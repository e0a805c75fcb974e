"""Layers of ensembles that share weights: BatchEnsemble (arXiv 2002.06715), as in TabM (arXiv 2410.24210).

A row becomes `heads` rows, one for each member network of the ensemble ("head"): all rows of the first head, then all
rows of the second, and so on. Layers in between see a batch of heads x B rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.engine_constants import padded
from service.spec.layers.base import Layer, Shape


@dataclass(frozen=True)
class EnsembleInput(Layer):
    """Copies each row for each head, and multiplies it by the head's scale; weight: (heads, features).

    The scales are random signs at first. `draws`: for each input, the number of its draw, so that inputs of one column
    share a sign; empty: a draw for each input.
    """

    heads: int
    draws: tuple[int, ...] = ()
    kind = "ensemble_input"

    @property
    def parameters(self) -> int:
        """A scale for each head and input."""
        return self.heads * self.inputs

    def copies(self, of_input: int) -> int:
        """See Layer."""
        return of_input * self.heads


@dataclass(frozen=True)
class EnsembleLinear(Layer):
    """BatchEnsemble's linear layer: y = s * (W (r * x)) + b, where r, s and b are each head's own and W is shared.

    weight: (units, features), scale_in r: (heads, features), scale_out s and bias b: (heads, units). Without
    `scales_input` there is no r: the layer before has scaled the input already.
    """

    units: int
    heads: int
    scales_input: bool
    kind = "ensemble_linear"
    decayed = ("weight",)

    @property
    def output_shape(self) -> Shape:
        """(units,)."""
        return (self.units,)

    @property
    def parameters(self) -> int:
        """Shared weight, and each head's scales and bias."""
        own = 2 * self.units + (self.inputs if self.scales_input else 0)
        return self.inputs * self.units + self.heads * own

    @property
    def values_held(self) -> int:
        """The output, before and after its scale, and the scaled input."""
        return 2 * padded(self.units) + (padded(self.inputs) if self.scales_input else 0)


@dataclass(frozen=True)
class EnsembleOutput(Layer):
    """A linear layer for each head; weight: (heads, units, features), bias: (heads, units).

    In training the output has a row for each head and row; in evaluation it is the mean over the heads: the logarithm
    of the mean probabilities, which softmax turns into these, or, without `probabilities`, the mean of the values.
    """

    units: int
    heads: int
    probabilities: bool
    kind = "ensemble_output"
    decayed = ("weight",)

    @property
    def output_shape(self) -> Shape:
        """(units,)."""
        return (self.units,)

    @property
    def parameters(self) -> int:
        """Weight and bias of each head."""
        return self.heads * self.units * (self.inputs + 1)
