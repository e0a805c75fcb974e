"""Settings that change from step to step, such as learning rates, in tensors at fixed addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, cycle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from service.training import averaging, schedules

if TYPE_CHECKING:
    from service.spec.resolve import Resolved


class StepValues:
    """Values of K members, each a (K, 1) float32 tensor that `advance` changes in place before each step.

    At fixed addresses a captured CUDA graph reads them.
    """

    def __init__(self, kinds: int, members: int, device: torch.device) -> None:
        self.tensors = torch.empty(kinds, members, 1, device=device)
        self._next: Iterator[Tensor] = iter(())

    def begin(self, values: Sequence[Sequence[Sequence[float]]]) -> None:
        """Start an epoch; values: of each kind and member one for all steps, or one for each of the member's steps."""
        first = torch.tensor([[each[0] for each in of_kind] for of_kind in values]).unsqueeze(2)
        self.tensors.copy_(first)
        steps = max(map(len, chain.from_iterable(values)))
        if steps == 1:
            self._next = iter(())
            return
        table = first.repeat(steps, 1, 1, 1)
        for kind, of_kind in enumerate(values):
            for member, each in enumerate(of_kind):
                if len(each) > 1:
                    table[: len(each), kind, member, 0] = torch.tensor(each)
        self._next = iter(table.to(self.tensors.device))

    def advance(self) -> None:
        """Before each step."""
        values = next(self._next, None)
        if values is not None:
            self.tensors.copy_(values)


def values_of(
    jobs: Sequence[Resolved],
    epochs: Sequence[int],
    rates: Sequence[Sequence[float]],
    step_counts: Sequence[int],
    taken: Sequence[int],
) -> list[list[Sequence[float]]]:
    """What `StepValues.begin` takes: learning rates, what multiplies decoupled weight decay, shares of moving averages.

    `taken`: the steps of the epoch that each member has taken before.
    """
    decays: list[Sequence[float]] = []
    moves: list[Sequence[float]] = []
    for job, epoch, steps, own in zip(jobs, epochs, step_counts, rates, strict=True):
        decay = schedules.decay_shares(job.spec.optimizer, epoch, steps, job.spec.max_epochs)
        decays.append([lr * share for lr, share in zip(cycle(own), decay, strict=False)])
        moves.append(averaging.shares(job.spec, epoch, steps))
    return [
        # A member that has taken all of its steps needs no value: any will do.
        [each[before:] or each[-1:] if len(each) > 1 else each for each, before in zip(values, taken, strict=True)]
        for values in (rates, decays, moves)
    ]
