"""The next step of a search: its decisions as a pure function of what is recorded.

Steps are taken when no job of the search is live, so that they depend on no order of ending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.domain.sweep import DecisionKind, NewDecision
from service.search import drawn_steps, rung_steps
from service.spec.search import HalvingSearch, HyperbandSearch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.search.drawn_steps import Propose
    from service.search.sampling import Admits
    from service.search.state import SearchState
    from service.spec.sweep import SweepSpec


def next_step(state: SearchState, *, admits: Admits, propose: Propose) -> list[NewDecision]:
    """The decisions to record now; none while jobs are live, and after the search has stopped, but to prune the rest.

    The first step proposes the first trials. It raises InvalidSpec if the budget or the space has not enough for them.
    `admits`: whether a point's network is small enough; `propose`: asks TPE.
    """
    if state.stopped:
        return [] if state.live else _left_at_limit(state)
    if state.decisions and state.search.seconds is not None and state.seconds >= state.search.seconds:
        return _out_of_time(state, state.search.seconds)
    if state.live:
        return []
    if isinstance(state.search, HalvingSearch | HyperbandSearch):
        return rung_steps.next_step(state, admits)
    return drawn_steps.next_step(state, admits, propose)


def planned_epochs(spec: SweepSpec, points: Sequence[dict[str, Any]]) -> int:
    """Epochs of all jobs together, at most, of a search whose first step proposes these points."""
    if isinstance(spec.search, HalvingSearch | HyperbandSearch):
        return rung_steps.planned_epochs(spec, len(points))
    return drawn_steps.planned_epochs(spec, points)


def _out_of_time(state: SearchState, seconds: float) -> list[NewDecision]:
    reason = f"the budget of {seconds:g} seconds is used up"
    return [*_pruned(state, reason), NewDecision(DecisionKind.stopped, f"{reason}; another run may end elsewhere")]


def _left_at_limit(state: SearchState) -> list[NewDecision]:
    """Prunings of trials that were training when the search stopped, and have reached their limit of epochs since."""
    return _pruned(state, "the search had stopped when it reached the end of its rung")


def _pruned(state: SearchState, reason: str) -> list[NewDecision]:
    waiting = [trial for trial, result in sorted(state.results.items()) if result.waiting]
    return [NewDecision(DecisionKind.pruned, reason, trial=trial, value=state.value(trial)) for trial in waiting]
