"""The optimizer of a job on several devices: each rank updates its part of the parameters, and shares it.

So the optimizer's work and moments are divided among the ranks (ZeRO stage 1, arXiv 1910.02054), and a step sends as
much as an all-reduce of the gradient would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from service.training import optimizers
from service.training.ranks import in_order

if TYPE_CHECKING:
    from torch import Tensor

    from service.spec import optimizer as spec
    from service.training.array import NetworkArray
    from service.training.ranks import Ranks


class ShardedOptimizer:
    """See Optimizer: `step` sums the ranks' gradients, clips the sum, and updates the parameters on all ranks."""

    def __init__(
        self, settings: spec.Optimizer, array: NetworkArray, ranks: Ranks, shared: Tensor | None = None
    ) -> None:
        """`shared`: (ranks, P) all ranks' gradients in shared memory, as the array's parameters are then."""
        self._ranks, self._max_norm = ranks, settings.max_grad_norm
        self._parts = ranks.parts(array.parameters.shape[1])
        self.own = self._parts[ranks.rank]
        """The columns that this rank updates."""
        rates = array.rate_factors(settings.rates)
        own_rates = None if rates is None else rates[:, self.own]
        self._inner = optimizers.of([settings], array.decayed[:, self.own].contiguous(), own_rates)
        self._shared = shared is not None
        own = self.own.stop - self.own.start
        self._received = array.parameters.new_empty(ranks.size, own) if shared is None else shared[:, self.own]
        self._gradient = array.parameters.new_empty(1, own)
        self._parameters = array.parameters[:, self.own]  # one view, which a fused optimizer recognizes

    def advance(self) -> None:
        """See Optimizer."""
        self._inner.advance()

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor, decay: Tensor | None = None) -> None:
        """See Optimizer; `gradient`: this rank's share of the sum."""
        if self._shared:
            self._ranks.barrier()  # all gradients are complete
        else:
            self._ranks.own_part_of_all(gradient[0], self._parts, self._received)
        in_order(list(self._received), self._gradient[0])
        if self._max_norm is not None:
            squares = self._ranks.sum(torch.linalg.vector_norm(self._gradient).square())
            self._gradient.mul_((self._max_norm / (squares.sqrt() + 1e-6)).clamp_(max=1.0))
        if self._gradient.numel():
            self._inner.step(self._parameters, self._gradient, lr, decay)
        if self._shared:
            self._ranks.barrier()  # all parameters are updated, and all gradients may be overwritten
        else:
            self._ranks.share_parts(parameters[0], self._parts)

    def keep(self, members: Sequence[int]) -> None:
        """See Optimizer: there is one member."""

    def part(self, members: slice) -> ShardedOptimizer:
        """See Optimizer: there is one member."""
        return self

    def moments(self) -> dict[str, Tensor]:
        """See Optimizer; (1, own columns) each."""
        return self._inner.moments()

    def all_moments(self) -> dict[str, Tensor]:
        """By all ranks: the moments of all columns, (1, P) each."""
        found = {}
        for name, own in self._inner.moments().items():
            found[name] = own.new_empty(1, self._parts[-1].stop)
            found[name][:, self.own] = own
            self._ranks.share_parts(found[name][0], self._parts)
        return found

    def steps(self, member: int) -> int:
        """See Optimizer."""
        return self._inner.steps(member)

    def resume(self, steps: Sequence[int]) -> None:
        """See Optimizer."""
        self._inner.resume(steps)
