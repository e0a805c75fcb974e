"""What a search's decisions are based on: the sweep's spec, the decisions so far, and what its trials have recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.domain.sweep import DecisionKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from service.domain.sweep import Decision, NewDecision
    from service.spec.search import Search
    from service.spec.sweep import SweepSpec


@dataclass(frozen=True)
class TrialResult:
    """What the jobs of a trial have recorded."""

    value: float | None
    """Mean of the sweep's metric at their best epochs; None unless each has a finite one, and none has failed or was
    cancelled."""
    epochs: int
    """Epochs of all its jobs together."""
    live: bool
    """Whether a job is in the queue, trains, or was paused by a client before its limit."""
    waiting: bool = False
    """Whether a job waits, in the queue or paused, so that it could be pruned."""


@dataclass(frozen=True)
class SearchState:
    """All that the next step of a search depends on."""

    spec: SweepSpec
    decisions: Sequence[Decision | NewDecision] = ()
    results: Mapping[int, TrialResult] = field(default_factory=dict)
    """By the trial's number; trials without jobs are missing."""
    seconds: float = 0.0
    """Since the submission; only the budget in seconds depends on it."""

    @property
    def search(self) -> Search:
        """The sweep's search."""
        assert self.spec.search is not None
        return self.spec.search

    @property
    def proposals(self) -> list[Decision | NewDecision]:
        """The decisions that proposed the trials, in the order of their numbers."""
        return [each for each in self.decisions if each.kind is DecisionKind.proposed]

    @property
    def stopped(self) -> bool:
        """Whether the search has ended."""
        return any(each.kind is DecisionKind.stopped for each in self.decisions)

    @property
    def live(self) -> bool:
        """Whether the search waits for a job."""
        return any(result.live for result in self.results.values())

    @property
    def epochs(self) -> int:
        """Epochs of all jobs so far."""
        return sum(result.epochs for result in self.results.values())

    def value(self, trial: int | None) -> float | None:
        """The trial's value; None if it has none."""
        result = None if trial is None else self.results.get(trial)
        return None if result is None else result.value
