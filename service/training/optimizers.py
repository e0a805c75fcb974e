"""SGD, Adam and AdamW on a (K, P) matrix of parameters: a row is a member with its own rate, decay and momentum.

The formulas are those of torch.optim; `decayed` (1, P) holds 1 where weight decay applies. Nothing is left out where a
member's setting is 0, so that a member's result does not depend on the settings of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Protocol

import torch
from torch import Tensor

from service.spec import optimizer as spec

LOOK_AHEAD = 256
SMALLEST = torch.finfo(torch.float32).tiny  # the square root of zeros, of which padding is full, is ten times slower


class Optimizer(Protocol):
    """Moves parameters against their gradient and remembers what it needs for the next step."""

    def advance(self) -> None:
        """Before each step: change in place what it takes from the count of steps."""
        ...

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor) -> None:
        """Change `parameters` (K, P) in place; gradient: (K, P), which may be overwritten; lr: (K, 1)."""
        ...

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone, in this order."""
        ...

    def moments(self) -> dict[str, Tensor]:
        """What it remembers by name, (K, P) each: changed in place, it remembers that."""
        ...

    def steps(self, member: int) -> int:
        """How many steps the member has taken, as far as that matters."""
        ...

    def resume(self, steps: Sequence[int]) -> None:
        """Go on as after so many steps of each member."""
        ...


class Sgd:
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    def __init__(self, settings: Sequence[spec.Sgd], decayed: Tensor) -> None:
        self._momentum = _column([each.momentum for each in settings], decayed)
        self._decay = _column([each.weight_decay for each in settings], decayed) * decayed
        self._nesterov = settings[0].nesterov
        self._velocity = torch.zeros_like(self._decay)

    def advance(self) -> None:
        """See Optimizer; nothing here depends on the count."""

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor) -> None:
        """See Optimizer."""
        gradient.addcmul_(parameters, self._decay)
        self._velocity.mul_(self._momentum).add_(gradient)
        if self._nesterov:
            gradient.addcmul_(self._velocity, self._momentum)
        parameters.addcmul_(gradient if self._nesterov else self._velocity, lr, value=-1.0)

    def keep(self, members: Sequence[int]) -> None:
        """See Optimizer."""
        rows = torch.tensor(members, device=self._velocity.device)
        self._momentum, self._decay = self._momentum[rows], self._decay[rows]
        self._velocity = self._velocity[rows]

    def moments(self) -> dict[str, Tensor]:
        """See Optimizer."""
        return {"velocity": self._velocity}

    def steps(self, member: int) -> int:
        """See Optimizer; nothing here depends on the count."""
        return 0

    def resume(self, steps: Sequence[int]) -> None:
        """See Optimizer; nothing here depends on the count."""


class Adam:
    """Adam; weight decay is added to the gradient, or taken from the weights themselves when `decoupled` (AdamW).

    With m and v the running means of the gradient and its square, step t subtracts
    lr * r / (1 - b1^t) * m / (sqrt(v) + r * eps), where r = sqrt(1 - b2^t): PyTorch's formula, multiplied through by r.
    """

    def __init__(self, settings: Sequence[spec.Adam], decayed: Tensor, decoupled: bool) -> None:
        self._settings = list(settings)
        self._decay = _column([each.weight_decay for each in settings], decayed) * decayed
        self._decoupled = decoupled
        self._mean, self._square = torch.zeros_like(self._decay), torch.zeros_like(self._decay)
        self._steps = [0] * len(settings)
        self._prepare()

    def advance(self) -> None:
        """See Optimizer."""
        self._now.copy_(next(self._corrections))
        self._steps = [taken + 1 for taken in self._steps]

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor) -> None:
        """See Optimizer."""
        if self._decoupled:
            parameters.addcmul_(parameters, self._decay * lr, value=-1.0)
        else:
            gradient.addcmul_(parameters, self._decay)
        factor, floor = self._now
        self._mean.lerp_(gradient, self._new_share)
        step, root = self._scratch
        self._square.lerp_(torch.mul(gradient, gradient, out=step), self._new_square)
        torch.clamp_min(self._square, SMALLEST, out=root).sqrt_().add_(floor)
        parameters.addcdiv_(torch.mul(self._mean, lr * factor, out=step), root, value=-1.0)

    def keep(self, members: Sequence[int]) -> None:
        """See Optimizer."""
        rows = torch.tensor(members, device=self._mean.device)
        self._settings = [self._settings[member] for member in members]
        self._steps = [self._steps[member] for member in members]
        self._decay, self._mean, self._square = self._decay[rows], self._mean[rows], self._square[rows]
        self._prepare()

    def moments(self) -> dict[str, Tensor]:
        """See Optimizer."""
        return {"mean": self._mean, "square": self._square}

    def steps(self, member: int) -> int:
        """See Optimizer."""
        return self._steps[member]

    def resume(self, steps: Sequence[int]) -> None:
        """See Optimizer."""
        self._steps = list(steps)
        self._prepare()

    def _prepare(self) -> None:
        """The members' constants as columns (K, 1), and the corrections of the steps to come."""
        self._new_share = _column([1.0 - each.betas[0] for each in self._settings], self._decay)
        self._new_square = _column([1.0 - each.betas[1] for each in self._settings], self._decay)
        self._scratch = torch.empty_like(self._mean), torch.empty_like(self._mean)
        self._corrections = self._correct(self._steps)
        self._now = torch.empty(2, len(self._settings), 1, device=self._mean.device)

    def _correct(self, taken: Sequence[int]) -> Iterator[Tensor]:
        """(r / (1 - b1^t), r * eps), as (2, K, 1), for each step t after those taken; many at once, for speed."""
        device = self._decay.device
        beta1, beta2, eps = (
            torch.tensor(values, dtype=torch.float64, device=device).view(-1, 1)
            for values in zip(*[(*each.betas, each.eps) for each in self._settings], strict=True)
        )
        first = torch.tensor(taken, dtype=torch.float64, device=device).view(-1, 1) + 1.0
        while True:
            steps = torch.arange(LOOK_AHEAD, dtype=torch.float64, device=device).view(-1, 1, 1) + first
            # Powers of tensors that are not expanded: a kernel takes such whole, and each number by the same way.
            root = (1.0 - beta2.expand_as(steps).contiguous() ** steps).sqrt()
            share = 1.0 - beta1.expand_as(steps).contiguous() ** steps
            yield from torch.stack([root / share, root * eps], 1).float()
            first += LOOK_AHEAD


class Clipping:
    """Scales each member's gradient down to its longest allowed norm, as torch.nn.utils.clip_grad_norm_ does."""

    def __init__(self, settings: Sequence[spec.Optimizer], like: Tensor) -> None:
        longest = [inf if each.max_grad_norm is None else each.max_grad_norm for each in settings]
        self._longest = _column(longest, like) if min(longest) < inf else None

    def __call__(self, gradient: Tensor) -> None:
        """Change `gradient` (K, P) in place; a member without a limit keeps its own to the bit."""
        if self._longest is not None:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            share = (self._longest / (norm + 1e-6)).clamp_(max=1.0)
            gradient.mul_(share.masked_fill_(self._longest.isinf(), 1.0))


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """(K, 1) float32 on the device of `like`."""
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(-1, 1)


def of(settings: Sequence[spec.Optimizer], decayed: Tensor) -> Optimizer:
    """The optimizer of members that ask for the same kind of one; decayed: (1, P)."""
    match settings[0]:
        case spec.Sgd():
            return Sgd([each for each in settings if isinstance(each, spec.Sgd)], decayed)
        case spec.AdamW():
            return Adam([each for each in settings if isinstance(each, spec.AdamW)], decayed, decoupled=True)
        case spec.Adam():
            return Adam([each for each in settings if isinstance(each, spec.Adam)], decayed, decoupled=False)
