"""Where training was interrupted within an epoch, and the sums of an epoch's losses, which go on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from service.training.row_sets import neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service.training.losses import BatchLoss
    from service.training.row_sets import Span


@dataclass(frozen=True)
class PartialEpoch:
    """What a job needs beside its weights to go on within an epoch, with the bits of an uninterrupted run.

    Row order and learning rates are functions of (seed, epoch, step).
    """

    step: int  # steps taken
    seconds: float  # of training
    losses: Tensor  # (positions in a batch,) float64: sums of the losses so far
    weight: Tensor | None  # () float32: the sum of the rows' weights so far; None: rows have none
    dropout: Tensor | None  # state of the generator of dropout masks; None: nothing is drawn


def never() -> bool:
    """Do not interrupt the epoch."""
    return False


def restore(generator: Generator, part: PartialEpoch | None) -> None:
    """Continue the generator of dropout masks; one of another device, whose results differ anyway, starts anew."""
    if part is not None and part.dropout is not None and len(part.dropout) == len(generator.get_state()):
        generator.set_state(part.dropout)


class LossSums:
    """Sums of the training losses of K members over an epoch.

    By position in the batch first: the bits of a sum over few numbers may depend on the number of members.
    """

    def __init__(self, positions: Sequence[int], begun: Sequence[PartialEpoch | None], device: torch.device) -> None:
        """`positions`: rows in the largest batch of each member; `begun`: where its epoch was interrupted."""
        self._positions = positions
        self._total = torch.zeros(len(positions), max(positions), dtype=torch.float64, device=device)
        self._weight = torch.zeros(len(positions), device=device)
        self._weighted = False
        for member, part in enumerate(begun):
            if part is not None:
                self._total[member, : len(part.losses)] = part.losses.to(device)
                if part.weight is not None:
                    self._weighted = True
                    self._weight[member] = part.weight.to(device)

    def add(self, span: Span, loss: BatchLoss) -> None:
        """Add the losses of a batch of these members."""
        self._total[span.members, : span.rows].add_(loss.rows)
        if isinstance(loss.weight, Tensor):
            self._weighted = True
            self._weight[span.members].add_(loss.weight)

    def totals(self) -> tuple[Tensor, Tensor | None]:
        """(K,) sums over the epoch of the losses and of the rows' weights; None: rows have none."""
        sums = [
            self._total[members, : self._positions[members.start]].contiguous().sum(1)
            for members in neighbours(self._positions)
        ]
        return torch.cat(sums), self._weight if self._weighted else None

    def interrupted(self, steps: Sequence[int], generators: Sequence[Generator] | None) -> Iterator[PartialEpoch]:
        """Where each member is after so many steps of its epoch; the time is not known here."""
        for member, step in enumerate(steps):
            weight = self._weight[member].cpu().clone() if self._weighted else None
            losses = self._total[member, : self._positions[member]].cpu().clone()
            dropout = None if generators is None else generators[member].get_state()
            yield PartialEpoch(step, 0.0, losses, weight, dropout)
