"""SGD, Adam and AdamW on a (K, P) matrix of parameters: a row is a member with its own rate, decay and step count.

The formulas are those of torch.optim; `decayed` (1, P) holds 1 where weight decay applies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from service.spec import optimizer as spec

LOOK_AHEAD = 256


class Optimizer(Protocol):
    """Moves parameters against their gradient and remembers what it needs for the next step."""

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor) -> None:
        """Change `parameters` (K, P) in place; gradient: (K, P), which may be overwritten; lr: (K, 1)."""
        ...


class Sgd:
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    def __init__(self, settings: spec.Sgd, weight_decay: Tensor, decayed: Tensor) -> None:
        self._momentum, self._nesterov = settings.momentum, settings.nesterov
        self._decay = _decay(weight_decay, decayed)
        self._velocity = torch.zeros(len(weight_decay), decayed.shape[1], device=decayed.device)

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor) -> None:
        """See Optimizer."""
        if self._decay is not None:
            gradient.addcmul_(parameters, self._decay)
        if self._momentum:
            self._velocity.mul_(self._momentum).add_(gradient)
            gradient = gradient.add_(self._velocity, alpha=self._momentum) if self._nesterov else self._velocity
        parameters.addcmul_(gradient, lr, value=-1.0)


class Adam:
    """Adam; weight decay is added to the gradient, or taken from the weights themselves when `decoupled` (AdamW).

    With m and v the running means of the gradient and its square, step t subtracts
    lr * r / (1 - b1^t) * m / (sqrt(v) + r * eps), where r = sqrt(1 - b2^t): PyTorch's formula, multiplied through by r.
    """

    def __init__(self, settings: spec.Adam, weight_decay: Tensor, decayed: Tensor, decoupled: bool) -> None:
        self._betas = settings.betas
        self._decay = _decay(weight_decay, decayed)
        self._decoupled = decoupled
        self._mean = torch.zeros(len(weight_decay), decayed.shape[1], device=decayed.device)
        self._square = torch.zeros_like(self._mean)
        self._corrections = _corrections(settings, torch.zeros_like(weight_decay, dtype=torch.float64))

    def step(self, parameters: Tensor, gradient: Tensor, lr: Tensor) -> None:
        """See Optimizer."""
        if self._decay is not None:
            if self._decoupled:
                parameters.addcmul_(parameters, self._decay * lr, value=-1.0)
            else:
                gradient.addcmul_(parameters, self._decay)
        beta1, beta2 = self._betas
        factor, floor = next(self._corrections)
        self._mean.lerp_(gradient, 1.0 - beta1)
        self._square.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        parameters.addcdiv_(self._mean * (lr * factor), self._square.sqrt().add_(floor), value=-1.0)


def _corrections(settings: spec.Adam, taken: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """(r / (1 - b1^t), r * eps), both (K, 1), for each step t after `taken` (K, 1); many at once, for speed."""
    beta1, beta2 = settings.betas
    while True:
        steps = taken + torch.arange(1, LOOK_AHEAD + 1, device=taken.device).view(-1, 1, 1)
        root = (1.0 - beta2**steps).sqrt()
        yield from zip((root / (1.0 - beta1**steps)).float(), (root * settings.eps).float(), strict=True)
        taken = taken + LOOK_AHEAD


def _decay(weight_decay: Tensor, decayed: Tensor) -> Tensor | None:
    """(K, P), or None where nothing decays; weight_decay: (K, 1), decayed: (1, P)."""
    return weight_decay * decayed if weight_decay.any() else None


def of(settings: spec.Optimizer, weight_decay: Tensor, decayed: Tensor) -> Optimizer:
    """The optimizer that `settings` asks for; weight_decay: (K, 1), decayed: (1, P)."""
    match settings:
        case spec.Sgd():
            return Sgd(settings, weight_decay, decayed)
        case spec.AdamW():
            return Adam(settings, weight_decay, decayed, decoupled=True)
        case spec.Adam():
            return Adam(settings, weight_decay, decayed, decoupled=False)
