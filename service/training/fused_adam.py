"""Adam and AdamW of larger networks on a CPU, by PyTorch's fused kernel: it reads and writes each parameter once.

The kernel takes one member's settings, so it is called for each member, in pieces that several threads compute (see
shards.py). Small networks spend their time in dispatch, so `optimizers.Adam` computes all members at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from service.engine_constants import PAD
from service.spec import optimizer as spec
from service.training import shards

LARGE_PARAMETERS = 2**14
"""Parameters of a network from which on its optimizer is fused; padding counts."""

_adam: Any = torch._fused_adam_
_adamw: Any = torch._fused_adamw_


def is_large(parameters: int) -> bool:
    """Whether networks with so many parameters have this optimizer on a CPU, whatever their number."""
    return parameters >= LARGE_PARAMETERS


class _Call(NamedTuple):
    """Arguments of one call of the kernel: parts of a member's row that are updated alike."""

    member: int
    decays: bool  # weight decay applies
    tensors: tuple[list[Tensor], ...]  # views of parameters, gradient, mean and square
    steps: list[Tensor]  # the member's step count, for each view


class FusedAdam:
    """Adam, or AdamW if `decoupled`; each member's row is updated in place by pieces."""

    def __init__(self, settings: Sequence[spec.Adam], decayed: Tensor, decoupled: bool) -> None:
        """`decayed`: (1, P), 1 where weight decay applies, else 0."""
        self._settings, self._decoupled = list(settings), decoupled
        self._kernel = _adamw if decoupled else _adam
        self._bound: tuple[Tensor, Tensor, list[list[_Call]]] | None = None  # the calls for these tensors
        self._decayed = decayed[0]
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

        def piece(calls: Sequence[_Call]) -> None:
            for call in calls:
                own = self._settings[call.member]
                self._kernel(
                    *call.tensors,
                    [],
                    call.steps,
                    lr=rates[call.member],
                    beta1=own.betas[0],
                    beta2=own.betas[1],
                    weight_decay=own.weight_decay * shares[call.member] if call.decays else 0.0,
                    eps=own.eps,
                    amsgrad=False,
                    maximize=False,
                )

        if self._bound is None or self._bound[0] is not parameters or self._bound[1] is not gradient:
            self._bound = parameters, gradient, self._calls(parameters, gradient)
        shards.run(piece, [(calls,) for calls in self._bound[2]])

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
        part._bound = None
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
        self._bound = None

    def _calls(self, parameters: Tensor, gradient: Tensor) -> list[list[_Call]]:
        """The calls that update these tensors, in pieces for threads."""
        decays = any(own.weight_decay for own in self._settings)
        ranges = _ranges(self._decayed if decays else torch.zeros_like(self._decayed))
        matrices = parameters, gradient, self._mean, self._square
        calls, sizes = list[_Call](), list[int]()
        for member in range(len(parameters)):
            for parts, decayed in ranges:
                tensors = tuple([matrix[member, part] for part in parts] for matrix in matrices)
                calls.append(_Call(member, decayed, tensors, [self._taken[member]] * len(parts)))
                sizes.append(sum(map(_length, parts)))
        return [calls[piece] for piece in _packed(sizes)]


def _ranges(decayed: Tensor) -> list[tuple[list[slice], bool]]:
    """Ranges of columns for each call, and whether weight decay applies to them; decayed: (P,), 1 or 0.

    PAD columns belong to one parameter. What is not decayed among them is padding, which stays 0.
    """
    flags = decayed.view(-1, PAD).amax(1).bool()
    starts = [0, *(torch.nonzero(flags[1:] != flags[:-1]).flatten() + 1).tolist()]
    parts: dict[bool, list[slice]] = {True: [], False: []}
    for start, end in zip(starts, [*starts[1:], len(flags)], strict=True):
        length = (end - start) * PAD
        for part in shards.cut(length, shards.pieces_of(length)):
            parts[bool(flags[start])].append(slice(start * PAD + part.start, start * PAD + part.stop))
    return [(own[run], flag) for flag, own in parts.items() for run in _packed(list(map(_length, own)))]


def _packed(sizes: Sequence[int]) -> list[slice]:
    """Runs of things of these sizes: as long as they have no more than PIECE_VALUES together, if they are several."""
    starts, total = [0], 0
    for place, size in enumerate(sizes):
        total += size
        if place > starts[-1] and total > shards.PIECE_VALUES:
            starts.append(place)
            total = size
    return [slice(start, end) for start, end in pairwise([*starts, len(sizes)]) if end > start]


def _length(part: slice) -> int:
    return int(part.stop - part.start)
