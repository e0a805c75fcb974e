"""Steps of successive halving and Hyperband: all trials, then at each rung who is promoted and who is pruned."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from service.domain.sweep import DecisionKind, NewDecision
from service.errors import InvalidSpec
from service.search.rungs import Bracket, RungResult, assigned, decide, halving, hyperband, levels
from service.search.sampling import draw_all
from service.spec.search import HalvingSearch, HyperbandSearch
from service.spec.sweep import points_of

if TYPE_CHECKING:
    from service.search.sampling import Admits
    from service.search.state import SearchState
    from service.spec.sweep import SweepSpec


@dataclass(frozen=True)
class _RungState:
    """A rung of a bracket: its trials, and the rung's number; both numbers count from 1."""

    bracket: int
    number: int
    trials: tuple[int, ...]


def planned_brackets(spec: SweepSpec, trials: int) -> tuple[Bracket, ...]:
    """The brackets of so many trials."""
    search = spec.search
    assert isinstance(search, HalvingSearch | HyperbandSearch)
    epochs = levels(spec.base.max_epochs, search.eta, search.min_epochs)
    if isinstance(search, HyperbandSearch):
        return hyperband(trials, epochs, search.eta)
    return (halving(trials, epochs, search.eta),)


def planned_epochs(spec: SweepSpec, trials: int) -> int:
    """Epochs of all jobs of so many trials together, at most."""
    return sum(bracket.epochs for bracket in planned_brackets(spec, trials)) * spec.jobs_per_point


def next_step(state: SearchState, admits: Admits) -> list[NewDecision]:
    """All trials at first; then the promotions and prunings of the rungs that have ended, in all brackets."""
    proposals = state.proposals
    if not proposals:
        return _first_step(state, admits)
    brackets = planned_brackets(state.spec, len(proposals))
    found = [
        decision
        for index, bracket in enumerate(brackets)
        for decision in _ended_rung(state, bracket, _current_rung(state, index + 1))
    ]
    return found or [
        NewDecision(DecisionKind.stopped, f"the last rung has ended; {state.epochs:,} epochs were trained")
    ]


def _first_step(state: SearchState, admits: Admits) -> list[NewDecision]:
    spec = state.spec
    points, reason = _points(state, admits)
    brackets = planned_brackets(spec, len(points))
    found = []
    for trial, (point, index) in enumerate(zip(points, assigned(brackets, state.search.seed), strict=True), start=1):
        limit = _limit(brackets[index], 1)
        found.append(
            NewDecision(
                DecisionKind.proposed, reason, trial=trial, rung=1, bracket=index + 1, point=point, epochs=limit
            )
        )
    return found


def _points(state: SearchState, admits: Admits) -> tuple[list[dict[str, Any]], str]:
    """The points of the trials, within the budget of epochs, and how they were chosen."""
    spec, search = state.spec, state.search
    trials = _affordable(spec, spec.trials)
    if spec.space is None:
        if trials < spec.trials:
            needed = planned_epochs(spec, spec.trials)
            message = f"should be at least {needed:,}, which the rungs of {spec.trials:,} points may take"
            raise InvalidSpec.at("/search/epochs", message)
        return [point.changes for point in points_of(spec)], f"a point of the {'grid' if spec.grid else 'list'}"
    if not trials:
        message = f"should be at least {planned_epochs(spec, 1):,}: one trial may take so many epochs"
        raise InvalidSpec.at("/search/epochs", message)
    points = list(islice(draw_all(spec.space, search.constraints, search.seed, admits=admits), trials))
    if len(points) < trials:
        message = f"the space has no more than {len(points):,} different points that are allowed"
        raise InvalidSpec.at("/search/trials", message)
    return points, f"drawn at random with seed {search.seed}"


def _affordable(spec: SweepSpec, trials: int) -> int:
    """The largest number of trials, up to `trials`, whose rungs stay within the budget of epochs."""
    assert spec.search is not None
    most = spec.search.epochs
    if most is None:
        return trials
    return next((n for n in range(trials, 0, -1) if planned_epochs(spec, n) <= most), 0)


def _limit(bracket: Bracket, rung: int) -> int | None:
    """The limit of epochs in a rung; None in the last."""
    return None if rung == len(bracket.rungs) else bracket.rungs[rung - 1].epochs


def _current_rung(state: SearchState, bracket: int) -> _RungState:
    """The highest rung of the bracket that has trials."""
    members: dict[int, list[int]] = {}
    for each in state.decisions:
        if each.bracket == bracket and each.kind in (DecisionKind.proposed, DecisionKind.promoted):
            assert each.rung is not None
            assert each.trial is not None
            members.setdefault(each.rung, []).append(each.trial)
    number = max(members)
    return _RungState(bracket, number, tuple(members[number]))


def _ended_rung(state: SearchState, bracket: Bracket, rung: _RungState) -> list[NewDecision]:
    """Promotions and prunings at the end of a rung; none after the last rung, or if all its trials were pruned."""
    if rung.number == len(bracket.rungs) or _pruned_all(state, rung):
        return []
    values = {trial: state.value(trial) for trial in rung.trials}
    larger, monitor = state.spec.base.monitor.larger_is_better, state.spec.base.monitor.value
    result = decide(values, bracket.rungs[rung.number].trials, larger_is_better=larger)
    reached, limit = bracket.rungs[rung.number - 1].epochs, _limit(bracket, rung.number + 1)
    found = []
    for rank, trial in enumerate((*result.promoted, *result.pruned), start=1):
        value = values[trial]
        promoted, ended = trial in result.promoted, trial in state.results and not state.results[trial].waiting
        if ended and not promoted:
            continue  # there is nothing to prune
        text = f"{monitor} {value:.6g}" if value is not None else f"no {monitor}"
        why = _why_ended(ended) if promoted else _beaten(result)
        found.append(
            NewDecision(
                DecisionKind.promoted if promoted else DecisionKind.pruned,
                f"rank {rank:,} of {len(rung.trials):,} with {text} after up to {reached:,} epochs{why}",
                trial=trial,
                rung=rung.number + 1 if promoted else rung.number,
                bracket=rung.bracket,
                value=value,
                epochs=limit if promoted else reached,
            )
        )
    return found


def _why_ended(ended: bool) -> str:
    return "; it has ended before, and keeps its place" if ended else ""


def _beaten(result: RungResult) -> str:
    return "; none was promoted" if result.cutoff is None else f"; the last one promoted has {result.cutoff:.6g}"


def _pruned_all(state: SearchState, rung: _RungState) -> bool:
    """Whether the rung's decision is recorded already, and promoted none."""
    return any(
        each.kind is DecisionKind.pruned and each.bracket == rung.bracket and each.rung == rung.number
        for each in state.decisions
    )
