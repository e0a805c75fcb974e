"""Successive halving: the rungs of its brackets, planned before anything trains, and who is promoted at each rung."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RUNGS = 4
"""Promotions of a trial from the first rung to the last, unless `min_epochs` says otherwise."""


@dataclass(frozen=True)
class Rung:
    """A rung: so many trials train up to so many epochs."""

    trials: int
    epochs: int


@dataclass(frozen=True)
class Bracket:
    """A run of successive halving: its rungs, each with fewer trials and more epochs; the last trains to the end."""

    rungs: tuple[Rung, ...]

    @property
    def trials(self) -> int:
        """The number of its trials."""
        return self.rungs[0].trials

    @property
    def epochs(self) -> int:
        """Epochs of all its trials together, at most, for one job a trial."""
        before = 0
        total = 0
        for rung in self.rungs:
            total += rung.trials * (rung.epochs - before)
            before = rung.epochs
        return total


@dataclass(frozen=True)
class RungResult:
    """The decision at the end of a rung: trials by number, in order of rank."""

    promoted: tuple[int, ...]
    pruned: tuple[int, ...]
    cutoff: float | None
    """The value of the last promoted trial; None if none has a value."""


def levels(max_epochs: int, eta: int, min_epochs: int | None) -> tuple[int, ...]:
    """Epochs of each rung, ascending: `min_epochs` times powers of `eta`, and at last `max_epochs`."""
    epochs = min_epochs or math.ceil(max_epochs / eta**RUNGS)
    found = list[int]()
    while epochs < max_epochs:
        found.append(epochs)
        epochs *= eta
    return (*found, max_epochs)


def halving(trials: int, epochs: Sequence[int], eta: int) -> Bracket:
    """A bracket of so many trials, whose rungs train up to `epochs`; one in `eta` is promoted, at least one.

    A trial that is alone trains to the end at once.
    """
    rungs = list[Rung]()
    for epoch in epochs:
        if trials == 1:
            break
        rungs.append(Rung(trials, epoch))
        trials = max(trials // eta, 1)
    if not rungs or rungs[-1].epochs < epochs[-1]:
        rungs.append(Rung(trials, epochs[-1]))
    return Bracket(tuple(rungs))


def hyperband(trials: int, epochs: Sequence[int], eta: int) -> tuple[Bracket, ...]:
    """Brackets that begin at each of the rungs, the one with the fewest epochs first (Li et al. 2018).

    They share the trials in the proportions of the paper, ceil((s + 1) / (i + 1) eta^i) for the bracket with i
    promotions of s at most, by largest remainder, so that brackets with few trials may be empty: those are left out.
    """
    most = len(epochs) - 1
    weights = [math.ceil((most + 1) / (each + 1) * eta**each) for each in range(most, -1, -1)]
    quotas = [trials * weight / sum(weights) for weight in weights]
    sizes = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda index: (sizes[index] - quotas[index], index))
    for index in by_remainder[: trials - sum(sizes)]:
        sizes[index] += 1
    return tuple(halving(size, epochs[start:], eta) for start, size in enumerate(sizes) if size)


def assigned(brackets: Sequence[Bracket], seed: int) -> list[int]:
    """The bracket of each trial, as an index into `brackets`: shuffled, as a grid's points are in order."""
    found = [index for index, bracket in enumerate(brackets) for _ in range(bracket.trials)]
    if len(brackets) > 1:
        random.Random(f"{seed}/brackets").shuffle(found)
    return found


def decide(values: Mapping[int, float | None], promotions: int, *, larger_is_better: bool) -> RungResult:
    """Who of a rung's trials is promoted: the `promotions` best by value, equal values by number.

    A trial without a finite value is never promoted. `values`: by the trial's number.
    """
    ranked = ranking(values, larger_is_better=larger_is_better)
    promoted = tuple(trial for trial in ranked[:promotions] if _finite(values[trial]))
    cutoff = values[promoted[-1]] if promoted else None
    return RungResult(promoted, tuple(ranked[len(promoted) :]), cutoff)


def ranking(values: Mapping[int, float | None], *, larger_is_better: bool) -> list[int]:
    """The trials, best value first, equal values by number, those without a finite value last."""
    sign = -1.0 if larger_is_better else 1.0

    def key(trial: int) -> tuple[bool, float, int]:
        value = values[trial]
        return (False, sign * value, trial) if value is not None and math.isfinite(value) else (True, 0.0, trial)

    return sorted(values, key=key)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
