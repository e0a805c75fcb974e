"""Averaged weights of K members: exponential moving averages by step, stochastic weight averages by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from service.spec.averaging import Ema, Swa

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.training.array import NetworkArray
    from service.training.progress import ProgressCounter
    from service.training.row_order import Orders
    from service.training.row_sets import MemberRows, Stage
    from service.training.weights import State


class Average:
    """The averaged weights of an array's members, which have the same kind of average, and their networks."""

    def __init__(self, specs: Sequence[JobSpec], array: NetworkArray, states: Sequence[State | None]) -> None:
        """`states`: each member's average; None: its current weights."""
        self._specs = list(specs)
        self._trained = array
        self.weights = array.weights.of(range(len(specs)))
        for member, state in enumerate(states):
            if state is not None:
                self.weights.load(member, state)
        self.array = array.evaluating(self.weights)

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order; call it after the array's `keep`."""
        self._specs = [self._specs[member] for member in members]
        self.weights = self.weights.of(members)
        self.array = self._trained.evaluating(self.weights)

    def end_epoch(
        self,
        epochs: Sequence[int],
        stages: Sequence[Stage],
        rows: MemberRows,
        orders: Orders,
        progress: ProgressCounter,
    ) -> None:
        """Update averages by epoch. `orders`: of the training rows of each member."""
        settings = [spec.averaging for spec in self._specs]
        averaged = [
            epoch - each.first_epoch(spec.max_epochs)
            for epoch, each, spec in zip(epochs, settings, self._specs, strict=True)
            if isinstance(each, Swa)
        ]
        if not averaged:
            return
        shares = torch.tensor([1.0 / (max(before, 0) + 1) for before in averaged])
        self.weights.blend(self._trained.weights, shares.view(-1, 1).to(self.weights.parameters.device))
        if max(averaged) >= 0 and self.array.norms:
            self._estimate(stages, rows, orders, progress)
            early = [member for member, before in enumerate(averaged) if before < 0]
            self.weights.copy_rows(self._trained.weights, early)

    def _estimate(self, stages: Sequence[Stage], rows: MemberRows, orders: Orders, progress: ProgressCounter) -> None:
        """Running statistics of the averaged weights: means over the epoch's batches (update_bn), without dropout."""
        batches = 0
        for stage in stages:
            parts = [self.array.part(span.members) for span in stage.spans]
            for batch in zip(*(rows.batches(span, stage.steps, orders) for span in stage.spans), strict=True):
                for part, each in zip(parts, batch, strict=True):
                    part.estimate(each.x, each.codes, batches)
                batches += 1
                progress.value += 1


def shares(spec: JobSpec, epoch: int, steps: int) -> Sequence[float]:
    """By how much the average moves to the weights at each step of the epoch; one number where all are equal."""
    if not isinstance(spec.averaging, Ema):
        return [0.0]
    own = [1.0 - spec.averaging.decay]
    return [1.0, *own * (steps - 1)] if epoch == 1 else own
