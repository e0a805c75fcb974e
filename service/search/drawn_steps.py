"""Steps of random search and TPE: trials are proposed, in batches, while the budget of epochs has room for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from service.domain.sweep import DecisionKind, NewDecision
from service.errors import InvalidSpec
from service.search.sampling import Exhausted, draw
from service.search.tpe_request import TpeRequest
from service.spec.search import TpeSearch
from service.spec.space import ChoiceParameter, as_text

if TYPE_CHECKING:
    from service.search.sampling import Admits
    from service.search.state import SearchState
    from service.spec.space import Parameter
    from service.spec.sweep import SweepSpec

Point = dict[str, Any]
Propose = Callable[[TpeRequest], Sequence[Point]]
"""Asks TPE for the next points; fewer when the space is exhausted."""

MAX_ROUNDS = 20
"""Requests to TPE for one batch, each without the networks that were too large before."""


def next_step(state: SearchState, admits: Admits, propose: Propose) -> list[NewDecision]:
    """The next batch of trials, or the end of the search."""
    proposals = state.proposals
    wanted = (state.search.trials or 0) - len(proposals)
    if wanted <= 0:
        return [_stopped(state, "all trials have ended")]
    drawn = _drawn(state, admits, wanted)
    if not drawn and isinstance(state.search, TpeSearch):
        drawn = _from_tpe(state, admits, propose, min(wanted, state.search.batch))
    if not drawn:
        return [_stopped(state, f"the space has no other points after {len(proposals):,} trials")]
    found = _affordable(state, drawn)
    if not found:
        return [_stopped(state, _too_expensive(state, drawn[0].point or {}))]
    return found


def planned_epochs(spec: SweepSpec, points: Sequence[Point]) -> int:
    """Epochs of all jobs together, at most, of a search that begins with these points."""
    assert spec.search is not None
    known = sum(epochs_of(spec, point) for point in points)
    space = spec.space or {}
    varied = space.get("max_epochs")
    longest = spec.base.max_epochs if varied is None else _largest(varied)
    if varied is not None and varied.when:
        longest = max(longest, spec.base.max_epochs)
    most = known + (spec.trials - len(points)) * longest * spec.jobs_per_point
    return most if spec.search.epochs is None else min(most, spec.search.epochs)


def _largest(parameter: Parameter) -> int:
    return int(max(parameter.choice) if isinstance(parameter, ChoiceParameter) else parameter.at(1.0))


def epochs_of(spec: SweepSpec, point: Point) -> int:
    """Epochs that the jobs of a trial take together, at most."""
    return int(point.get("max_epochs", spec.base.max_epochs)) * spec.jobs_per_point


def _drawn(state: SearchState, admits: Admits, wanted: int) -> list[NewDecision]:
    """Trials drawn at random: all of them, or those that TPE begins with."""
    search, space = state.search, state.spec.space
    assert space is not None
    known = len(state.proposals)
    if isinstance(search, TpeSearch):
        wanted = min(wanted, search.startup_trials - known)
    taken = {as_text(each.point) for each in state.proposals}
    found = list[NewDecision]()
    room = None if search.epochs is None else search.epochs - state.epochs
    for trial in range(known + 1, known + wanted + 1):
        if room is not None and room <= 0 and found:
            break  # drawing more would be for nothing
        try:
            point = draw(space, search.constraints, search.seed, trial, taken=taken, admits=admits)
        except Exhausted:
            if not known:
                message = f"the space has no more than {len(found):,} different points that are allowed"
                raise InvalidSpec.at("/search/trials", message) from None
            break
        taken.add(as_text(point))
        room = None if room is None else room - epochs_of(state.spec, point)
        found.append(
            NewDecision(DecisionKind.proposed, f"drawn at random with seed {search.seed}", trial=trial, point=point)
        )
    return found


def _from_tpe(state: SearchState, admits: Admits, propose: Propose, count: int) -> list[NewDecision]:
    assert state.spec.space is not None
    assert isinstance(state.search, TpeSearch)
    known = [(each.point or {}, state.value(each.trial)) for each in state.proposals]
    request = TpeRequest(
        space=state.spec.space,
        search=state.search,
        points=[point for point, _ in known],
        values=[value for _, value in known],
        larger_is_better=state.spec.base.monitor.larger_is_better,
        count=count,
    )
    for _ in range(MAX_ROUNDS):
        asked = propose(request)
        points = [point for point in asked if admits(point)]
        if len(points) == len(asked):
            break
        refused = [point for point in asked if point not in points]
        request = replace(request, refused=[*request.refused, *refused])
    reason = f"proposed by TPE after {len(known):,} trials"
    return [
        NewDecision(DecisionKind.proposed, reason, trial=trial, point=point)
        for trial, point in enumerate(points, start=len(known) + 1)
    ]


def _affordable(state: SearchState, drawn: Sequence[NewDecision]) -> list[NewDecision]:
    """The first trials that certainly stay within the budget of epochs."""
    if state.search.epochs is None:
        return list(drawn)
    room = state.search.epochs - state.epochs
    found = list[NewDecision]()
    for each in drawn:
        room -= epochs_of(state.spec, each.point or {})
        if room < 0:
            break
        found.append(each)
    return found


def _too_expensive(state: SearchState, point: Point) -> str:
    assert state.search.epochs is not None
    left, needed = state.search.epochs - state.epochs, epochs_of(state.spec, point)
    if not state.proposals:
        message = f"should be at least {needed:,}: one trial may take so many epochs"
        raise InvalidSpec.at("/search/epochs", message)
    return f"{left:,} of {state.search.epochs:,} epochs are left, and the next trial may take {needed:,}"


def _stopped(state: SearchState, reason: str) -> NewDecision:
    return NewDecision(DecisionKind.stopped, f"{reason}; {state.epochs:,} epochs were trained")
