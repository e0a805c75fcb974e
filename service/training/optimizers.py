"""SGD, Adam and AdamW on a (K, P) matrix of parameters: each row has its own learning rate, decay and momentum.

The formulas are those of torch.optim; `decayed` (1, P) is 1 where weight decay applies. No operation is skipped where a
member's setting is 0, so that a member's bits do not depend on the settings of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from math import inf
from typing import Protocol

import torch
from torch import Tensor

from service.spec import optimizer as spec
from service.training.fused_adam import FusedAdam, is_large

LOOK_AHEAD = 256
SMALLEST = torch.finfo(torch.float32).tiny  # the square root of zeros, as in the padding, is ten times slower


class Optimizer(Protocol):
    """Updates parameters by their gradient; keeps moments for the next step."""

    def advance(self) -> None:
        """Before each step: update in place what depends on the step count."""
        ...

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor, decay: Tensor | None = None) -> None:
        """Change `parameters` (K, P) in place; gradient: (K, P), which may be overwritten; lr: (K, 1).

        `decay`: (K, 1), what multiplies decoupled weight decay; None: lr.
        """
        ...

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order."""
        ...

    def part(self, members: slice) -> Optimizer:
        """The optimizer of these members alone: it shares their moments, and what `advance` of this one updates."""
        ...

    def moments(self) -> dict[str, Tensor]:
        """Its moments by name, (K, P) each; they may be changed in place."""
        ...

    def steps(self, member: int) -> int:
        """The member's step count, if the optimizer depends on it."""
        ...

    def resume(self, steps: Sequence[int]) -> None:
        """Set each member's step count; parts stay valid."""
        ...


class Sgd:
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    def __init__(self, settings: Sequence[spec.Sgd], decayed: Tensor, rates: Tensor | None = None) -> None:
        """`rates`: (1, P) factors of the learning rate; None: ones."""
        self._momentum = _column([each.momentum for each in settings], decayed)
        self._decay = _column([each.weight_decay for each in settings], decayed) * decayed
        self._nesterov = settings[0].nesterov
        self._velocity = torch.zeros_like(self._decay)
        self._rates = rates

    def advance(self) -> None:
        """See Optimizer; SGD does not depend on the step count."""

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor, decay: Tensor | None = None) -> None:
        """See Optimizer."""
        gradient.addcmul_(parameters, self._decay)
        self._velocity.mul_(self._momentum).add_(gradient)
        if self._nesterov:
            gradient.addcmul_(self._velocity, self._momentum)
        step = gradient if self._nesterov else self._velocity
        parameters.addcmul_(step if self._rates is None else step * self._rates, lr, value=-1.0)

    def keep(self, members: Sequence[int]) -> None:
        """See Optimizer."""
        rows = torch.tensor(members, device=self._velocity.device)
        self._momentum, self._decay = self._momentum[rows], self._decay[rows]
        self._velocity = self._velocity[rows]

    def part(self, members: slice) -> Sgd:
        """See Optimizer."""
        part = copy(self)
        part._momentum, part._decay = self._momentum[members], self._decay[members]
        part._velocity = self._velocity[members]
        return part

    def moments(self) -> dict[str, Tensor]:
        """See Optimizer."""
        return {"velocity": self._velocity}

    def steps(self, member: int) -> int:
        """See Optimizer; SGD does not depend on the step count."""
        return 0

    def resume(self, steps: Sequence[int]) -> None:
        """See Optimizer; SGD does not depend on the step count."""


class Adam:
    """Adam; weight decay is added to the gradient, or subtracted from the weights directly if `decoupled` (AdamW).

    With m and v the running means of the gradient and its square, step t subtracts
    lr * r / (1 - b1^t) * m / (sqrt(v) + r * eps), where r = sqrt(1 - b2^t): PyTorch's formula, multiplied through by r.
    """

    def __init__(
        self, settings: Sequence[spec.Adam], decayed: Tensor, decoupled: bool, rates: Tensor | None = None
    ) -> None:
        """`rates`: (1, P) factors of the learning rate; None: ones."""
        self._settings = list(settings)
        if decoupled and rates is not None:
            decayed = decayed * rates
        self._decay = _column([each.weight_decay for each in settings], decayed) * decayed
        self._rates = rates
        self._decoupled = decoupled
        self._mean, self._square = torch.zeros_like(self._decay), torch.zeros_like(self._decay)
        self._steps = [0] * len(settings)
        self._prepare()

    def advance(self) -> None:
        """See Optimizer."""
        self._now.copy_(next(self._corrections))
        self._steps = [taken + 1 for taken in self._steps]

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor, decay: Tensor | None = None) -> None:
        """See Optimizer."""
        if self._decoupled:
            parameters.addcmul_(parameters, self._decay * (lr if decay is None else decay), value=-1.0)
        else:
            gradient.addcmul_(parameters, self._decay)
        factor, floor = self._now
        self._mean.lerp_(gradient, self._new_share)
        step, root = self._scratch
        self._square.lerp_(torch.mul(gradient, gradient, out=step), self._new_square)
        torch.clamp_min(self._square, SMALLEST, out=root).sqrt_().add_(floor)
        torch.mul(self._mean, lr * factor, out=step)
        if self._rates is not None:
            step.mul_(self._rates)
        parameters.addcdiv_(step, root, value=-1.0)

    def keep(self, members: Sequence[int]) -> None:
        """See Optimizer."""
        rows = torch.tensor(members, device=self._mean.device)
        self._settings = [self._settings[member] for member in members]
        self._steps = [self._steps[member] for member in members]
        self._decay, self._mean, self._square = self._decay[rows], self._mean[rows], self._square[rows]
        self._prepare()

    def part(self, members: slice) -> Adam:
        """See Optimizer."""
        part = copy(self)
        part._decay, part._mean, part._square = self._decay[members], self._mean[members], self._square[members]
        part._new_share, part._new_square = self._new_share[members], self._new_square[members]
        part._scratch = self._scratch[0][members], self._scratch[1][members]
        part._now = self._now[:, members]
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
        self._corrections = self._correct(self._steps)

    def _prepare(self) -> None:
        """The members' constants as columns (K, 1), and the bias corrections of the next steps."""
        self._new_share = _column([1.0 - each.betas[0] for each in self._settings], self._decay)
        self._new_square = _column([1.0 - each.betas[1] for each in self._settings], self._decay)
        self._scratch = torch.empty_like(self._mean), torch.empty_like(self._mean)
        self._corrections = self._correct(self._steps)
        self._now = torch.empty(2, len(self._settings), 1, device=self._mean.device)

    def _correct(self, taken: Sequence[int]) -> Iterator[Tensor]:
        """(r / (1 - b1^t), r * eps), as (2, K, 1), for each next step t; computed many at a time."""
        device = self._decay.device
        beta1, beta2, eps = (
            torch.tensor(values, dtype=torch.float64, device=device).view(-1, 1)
            for values in zip(*[(*each.betas, each.eps) for each in self._settings], strict=True)
        )
        first = torch.tensor(taken, dtype=torch.float64, device=device).view(-1, 1) + 1.0
        while True:
            steps = torch.arange(LOOK_AHEAD, dtype=torch.float64, device=device).view(-1, 1, 1) + first
            # Contiguous powers: the kernel for expanded tensors rounds some elements differently.
            root = (1.0 - beta2.expand_as(steps).contiguous() ** steps).sqrt()
            share = 1.0 - beta1.expand_as(steps).contiguous() ** steps
            yield from torch.stack([root / share, root * eps], 1).float()
            first += LOOK_AHEAD


class Clipping:
    """Gradient clipping: scales each member's gradient down to its `max_grad_norm`, as clip_grad_norm_ does."""

    def __init__(self, settings: Sequence[spec.Optimizer], like: Tensor) -> None:
        max_norms = [inf if each.max_grad_norm is None else each.max_grad_norm for each in settings]
        self._max_norm = _column(max_norms, like) if min(max_norms) < inf else None

    def __call__(self, gradient: Tensor) -> None:
        """Change `gradient` (K, P) in place; the gradient of a member without a limit stays bit-identical."""
        if self._max_norm is not None:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            share = (self._max_norm / (norm + 1e-6)).clamp_(max=1.0)
            gradient.mul_(share.masked_fill_(self._max_norm.isinf(), 1.0))


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """(K, 1) float32 on the device of `like`."""
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(-1, 1)


def of(settings: Sequence[spec.Optimizer], decayed: Tensor, rates: Tensor | None = None) -> Optimizer:
    """The optimizer of members with the same kind of optimizer; decayed: (1, P).

    `rates`: (1, P) factors of the learning rate; None: ones.
    """
    if isinstance(settings[0], spec.Adam) and rates is None and is_large(decayed.shape[1]) and not decayed.is_cuda:
        kind = type(settings[0])
        own = [each for each in settings if isinstance(each, kind)]
        return FusedAdam(own, decayed, decoupled=kind is spec.AdamW)
    match settings[0]:
        case spec.Sgd():
            return Sgd([each for each in settings if isinstance(each, spec.Sgd)], decayed, rates)
        case spec.AdamW():
            return Adam([each for each in settings if isinstance(each, spec.AdamW)], decayed, True, rates)
        case spec.Adam():
            return Adam([each for each in settings if isinstance(each, spec.Adam)], decayed, False, rates)
