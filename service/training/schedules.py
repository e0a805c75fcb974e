"""Learning-rate schedules: functions of the epoch (constant, cosine, step) and reduce-on-plateau."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, isfinite, pi
from typing import Protocol

from service.spec import optimizer as spec


class Schedule(Protocol):
    """An immutable schedule: gives an epoch's learning rate, and its next state after that epoch."""

    def lr(self, epoch: int) -> float:
        """The learning rate of `epoch`, counted from 1."""
        ...

    def update(self, value: float | None) -> Schedule:
        """The state after an epoch; `value`: its monitored value, None if undefined."""
        ...


@dataclass(frozen=True)
class EpochSchedule:
    """A schedule that depends only on the epoch: constant, cosine or step."""

    settings: spec.Constant | spec.Cosine | spec.Step
    initial: float
    max_epochs: int

    def lr(self, epoch: int) -> float:
        """See Schedule. As StepLR and CosineAnnealingLR, the latter constant after its end."""
        match self.settings:
            case spec.Constant():
                return self.initial
            case spec.Step(step_size=size, gamma=gamma):
                return float(self.initial * gamma ** ((epoch - 1) // size))
            case spec.Cosine(min_lr=low, epochs=epochs):
                length = epochs or self.max_epochs
                return low + (self.initial - low) * (1 + cos(pi * min(epoch - 1, length) / length)) / 2

    def update(self, value: float | None) -> EpochSchedule:
        """See Schedule."""
        return self


@dataclass(frozen=True)
class ReduceOnPlateau:
    """ReduceLROnPlateau with a relative threshold: lower rate after more than `patience` epochs without progress."""

    settings: spec.Plateau
    rate: float
    larger_is_better: bool
    best: float | None = None
    wait: int = 0

    def lr(self, epoch: int) -> float:
        """See Schedule."""
        return self.rate

    def update(self, value: float | None) -> ReduceOnPlateau:
        """See Schedule."""
        if value is not None and isfinite(value) and self._better(value):
            return replace(self, best=value, wait=0)
        if self.wait < self.settings.patience:
            return replace(self, wait=self.wait + 1)
        lower = max(self.rate * self.settings.factor, self.settings.min_lr)
        return replace(self, rate=min(self.rate, lower), wait=0)

    def _better(self, value: float) -> bool:
        if self.best is None:
            return True
        if self.larger_is_better:
            return value > self.best * (1 + self.settings.threshold)
        return value < self.best * (1 - self.settings.threshold)


def start(settings: spec.Schedule, lr: float, max_epochs: int, larger_is_better: bool) -> Schedule:
    """The schedule at epoch 1; `larger_is_better`: of the monitored metric."""
    if isinstance(settings, spec.Plateau):
        return ReduceOnPlateau(settings, lr, larger_is_better)
    return EpochSchedule(settings, lr, max_epochs)
