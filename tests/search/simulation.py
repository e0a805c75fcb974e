"""Runs a search without training: each job has a curve of losses, and may end early."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from service.domain.sweep import DecisionKind, NewDecision
from service.search.state import SearchState, TrialResult
from service.search.steps import next_step
from service.search.tpe import propose
from service.spec.space import as_text
from service.spec.sweep import SweepSpec

Curve = Callable[[dict[str, Any], int], list[float | None]]
"""The losses of a job, by point and the job's number within the trial."""


def curve(point: dict[str, Any], job: int) -> list[float | None]:
    """Up to 40 losses that decrease to a level which the point decides."""
    drawn = random.Random(f"{as_text(point)}/{job}")
    length, level, rate = drawn.choice([5, 40, 40, 40]), drawn.random(), drawn.uniform(0.02, 0.5)
    return [level + 1 / (1 + rate * epoch) for epoch in range(1, length + 1)]


@dataclass
class Simulation:
    """A search and its trials."""

    spec: SweepSpec
    curves: Curve = curve
    admits: Callable[[Any], bool] = lambda _: True
    decisions: list[NewDecision] = field(default_factory=list)
    limits: dict[int, int | None] = field(default_factory=dict)
    """Epochs up to which each trial has trained."""

    def state(self) -> SearchState:
        """What is recorded when no job is live."""
        results = {trial: self.result(trial) for trial in self.limits}
        for each in self.decisions:
            if each.kind is DecisionKind.pruned and each.trial is not None:
                results[each.trial] = replace(results[each.trial], waiting=False)
        return SearchState(self.spec, tuple(self.decisions), results)

    def result(self, trial: int) -> TrialResult:
        """What the trial's jobs have recorded."""
        point = next(
            each.point for each in self.decisions if each.kind is DecisionKind.proposed and each.trial == trial
        )
        runs = [self.curves(point or {}, job) for job in range(self.spec.jobs_per_point)]
        seen = [run[: self.limits[trial]][: int((point or {}).get("max_epochs", 10**6))] for run in runs]
        best = [min((value for value in run if value is not None), default=None) for run in seen]
        values = [value for value in best if value is not None]
        mean = sum(values) / len(values) if len(values) == len(best) else None
        return TrialResult(mean, sum(map(len, seen)), live=False, waiting=any(map(len, runs)) and seen != runs)

    def step(self) -> list[NewDecision]:
        """Take the next step, and train."""
        found = next_step(self.state(), admits=self.admits, propose=propose)
        for each in found:
            self.decisions.append(each)
            if each.kind in (DecisionKind.proposed, DecisionKind.promoted):
                assert each.trial is not None
                self.limits[each.trial] = each.epochs
        return found

    def run(self) -> Simulation:
        """Take all steps."""
        while self.step():
            pass
        return self

    @property
    def epochs(self) -> int:
        """Epochs of all jobs."""
        return self.state().epochs

    @property
    def winner(self) -> int:
        """The best trial."""
        state = self.state()
        return min(self.limits, key=lambda trial: (value if (value := state.value(trial)) is not None else 1e9, trial))
