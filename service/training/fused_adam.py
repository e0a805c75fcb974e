"""Adam and AdamW of large networks on a CPU, by PyTorch's fused kernel: it reads and writes each parameter once.

The kernel takes one member's settings, so it is called for each member, in pieces that several threads compute (see
shards.py). Small networks spend their time in dispatch, so `optimizers.Adam` computes all members at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from service.engine_constants import PAD
from service.spec import optimizer as spec
from service.training import shards

LARGE_PARAMETERS = 2**17
"""Parameters of a network from which on its optimizer is fused; padding counts."""

_adam: Any = torch._fused_adam_
_adamw: Any = torch._fused_adamw_


def is_large(parameters: int) -> bool:
    """Whether networks with so many parameters have this optimizer on a CPU, whatever their number."""
    return parameters >= LARGE_PARAMETERS


class FusedAdam:
    """Adam, or AdamW if `decoupled`; each member's row is updated in place by pieces."""

    def __init__(self, settings: Sequence[spec.Adam], decayed: Tensor, decoupled: bool) -> None:
        """`decayed`: (1, P), 1 where weight decay applies, else 0."""
        self._settings, self._decoupled = list(settings), decoupled
        self._kernel = _adamw if decoupled else _adam
        self._ranges = _ranges(decayed[0])
        self._mean, self._square = (decayed.new_zeros(len(settings), decayed.shape[1]) for _ in range(2))
        self._steps = [0] * len(settings)
        self._prepare()

    def advance(self) -> None:
        """See Optimizer."""
        self._steps = [taken + 1 for taken in self._steps]
        self._taken.copy_(torch.tensor(self._steps, dtype=torch.float32))

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor, decay: Tensor | None = None) -> None:
        """See Optimizer."""
        rates = lr.flatten().tolist()
        # The kernel multiplies decoupled weight decay by the learning rate.
        shares = [1.0] * len(rates)
        if self._decoupled and decay is not None:
            shares = [own / rate if rate else 0.0 for own, rate in zip(decay.flatten().tolist(), rates, strict=True)]

        def piece(member: int, part: slice, decays: bool) -> None:
            own = self._settings[member]
            self._kernel(
                [parameters[member, part]],
                [gradient[member, part]],
                [self._mean[member, part]],
                [self._square[member, part]],
                [],
                [self._taken[member]],
                lr=rates[member],
                beta1=own.betas[0],
                beta2=own.betas[1],
                weight_decay=own.weight_decay * shares[member] if decays else 0.0,
                eps=own.eps,
                amsgrad=False,
                maximize=False,
            )

        shards.run(piece, [(member, *each) for member in range(len(parameters)) for each in self._ranges])

    def keep(self, members: Sequence[int]) -> None:
        """See Optimizer."""
        self._settings = [self._settings[member] for member in members]
        self._steps = [self._steps[member] for member in members]
        self._mean, self._square = self._mean[list(members)], self._square[list(members)]
        self._prepare()

    def part(self, members: slice) -> FusedAdam:
        """See Optimizer."""
        part = copy(self)
        part._settings, part._taken = self._settings[members], self._taken[members]
        part._mean, part._square = self._mean[members], self._square[members]
        return part

    def moments(self) -> dict[str, Tensor]:
        """See Optimizer."""
        return {"mean": self._mean, "square": self._square}

    def steps(self, member: int) -> int:
        """See Optimizer."""
        return self._steps[member]

    def resume(self, steps: Sequence[int]) -> None:
        """See Optimizer."""
        self._steps = list(steps)

    def _prepare(self) -> None:
        """(K,) float32: the members' step counts, which parts share."""
        self._taken = torch.tensor(self._steps, dtype=torch.float32)


def _ranges(decayed: Tensor) -> list[tuple[slice, bool]]:
    """Pieces of the columns, and whether weight decay applies to them; decayed: (P,), 1 or 0.

    PAD columns belong to one parameter. What is not decayed among them is padding, which stays 0.
    """
    flags = decayed.view(-1, PAD).amax(1).bool()
    starts = [0, *(torch.nonzero(flags[1:] != flags[:-1]).flatten() + 1).tolist()]
    ranges = []
    for start, end in zip(starts, [*starts[1:], len(flags)], strict=True):
        length = (end - start) * PAD
        for part in shards.cut(length, shards.pieces_of(length)):
            ranges.append((slice(start * PAD + part.start, start * PAD + part.stop), bool(flags[start])))
    return ranges
