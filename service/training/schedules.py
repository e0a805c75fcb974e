"""Learning-rate schedules: functions of epoch and step, and reduce-on-plateau; linear warm-up of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, cos, isfinite, log2, pi
from typing import Protocol

from service.spec import schedule as spec
from service.spec.optimizer import AdamW, Optimizer


class Schedule(Protocol):
    """An immutable schedule: gives an epoch's learning rates, and its next state after that epoch."""

    def rates(self, epoch: int, steps: int) -> Sequence[float]:
        """The learning rate of each of the steps of `epoch`, counted from 1; a single one where all are equal."""
        ...

    def update(self, value: float | None) -> Schedule:
        """The state after an epoch; `value`: its monitored value, None if undefined."""
        ...


@dataclass(frozen=True)
class EpochSchedule:
    """A schedule that depends only on the epoch and the step."""

    settings: spec.Constant | spec.Cosine | spec.Step | spec.CosLog4 | spec.OneCycle
    initial: float
    max_epochs: int

    def rates(self, epoch: int, steps: int) -> Sequence[float]:
        """See Schedule. As StepLR, CosineAnnealingLR and OneCycleLR; constant after the curve's end."""
        match self.settings:
            case spec.Constant():
                rates: Sequence[float] = (self.initial,)
            case spec.Step(step_size=size, gamma=gamma):
                rates = (float(self.initial * gamma ** ((epoch - 1) // size)),)
            case spec.Cosine(min_lr=low, epochs=epochs):
                length = epochs or self.max_epochs
                rates = (low + (self.initial - low) * (1 + cos(pi * min(epoch - 1, length) / length)) / 2,)
            case spec.CosLog4() | spec.OneCycle():
                rates = [self.initial * share for share in shares(self.settings, epoch, steps, self.max_epochs)]
        return _warmed(self.settings, rates, epoch, steps, self.max_epochs)

    def update(self, value: float | None) -> EpochSchedule:
        """See Schedule."""
        return self


@dataclass(frozen=True)
class ReduceOnPlateau:
    """ReduceLROnPlateau with a relative threshold: lower rate after more than `patience` epochs without progress."""

    settings: spec.Plateau
    rate: float
    max_epochs: int
    larger_is_better: bool
    best: float | None = None
    wait: int = 0

    def rates(self, epoch: int, steps: int) -> Sequence[float]:
        """See Schedule."""
        return _warmed(self.settings, (self.rate,), epoch, steps, self.max_epochs)

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
        return ReduceOnPlateau(settings, lr, max_epochs, larger_is_better)
    return EpochSchedule(settings, lr, max_epochs)


@lru_cache(maxsize=8)  # members of an array share them
def shares(settings: spec.CosLog4 | spec.OneCycle, epoch: int, steps: int, max_epochs: int) -> tuple[float, ...]:
    """What the learning rate is multiplied by at each step of the epoch."""
    total = steps * (settings.epochs or max_epochs)
    if isinstance(settings, spec.CosLog4):
        return tuple(_coslog4(min(step, total) / total) for step in _taken(epoch, steps))
    return tuple(_one_cycle(settings, min(step, total - 1), total) for step in _taken(epoch, steps))


def schedules_decay(settings: Optimizer) -> bool:
    """Whether decoupled weight decay has a schedule of its own."""
    return isinstance(settings, AdamW) and settings.decay_schedule != "constant"


def decay_shares(settings: Optimizer, epoch: int, steps: int, max_epochs: int) -> Sequence[float]:
    """What decoupled weight decay is multiplied by at each step of the epoch; one number where all are equal."""
    if not schedules_decay(settings):
        return (1.0,)
    return [_flat_cos(step / (max_epochs * steps)) for step in _taken(epoch, steps)]


def _flat_cos(t: float) -> float:
    return (1.0 + cos(pi * (max(1.0, 2.0 * t) - 1.0))) / 2.0


def _taken(epoch: int, steps: int) -> range:
    """The number of steps taken before each step of the epoch."""
    return range((epoch - 1) * steps, epoch * steps)


def _coslog4(t: float) -> float:
    return (1.0 - cos(2.0 * pi * log2(1.0 + 15.0 * t))) / 2.0


def _one_cycle(settings: spec.OneCycle, step: int, total: int) -> float:
    """OneCycleLR with anneal_strategy `cos`: its peak is at step pct_start x total - 1, its end at the last step."""
    first = 1.0 / settings.div_factor
    last = first / settings.final_div_factor
    peak = max(0.0, settings.pct_start * total - 1)
    if step <= peak:
        return _between(first, 1.0, step / peak if peak else 1.0)
    return _between(1.0, last, (step - peak) / (total - 1 - peak))


def _between(start: float, end: float, t: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) / 2.0 * (1.0 + cos(pi * t))


def _warmed(
    settings: spec.Schedule, rates: Sequence[float], epoch: int, steps: int, max_epochs: int
) -> Sequence[float]:
    """The rates with linear warm-up."""
    length = settings.warmup_steps or ceil(settings.warmup_share * max_epochs * steps - 1e-9)
    taken = _taken(epoch, steps)
    if taken.start + 1 >= length:
        return rates
    each = rates if len(rates) == steps else [rates[0]] * steps
    return [rate * min(1.0, (before + 1) / length) for rate, before in zip(each, taken, strict=True)]
