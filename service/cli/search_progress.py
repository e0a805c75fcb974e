"""The decisions of a search as lines of text: batches of proposals, ends of rungs with the best trial, the end."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from service.domain.sweep import DecisionKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from service.domain.sweep import Decision, Sweep

JUDGED = (DecisionKind.promoted, DecisionKind.pruned)


def lines_of(decisions: Iterable[Decision], state: Sweep) -> Iterator[str]:
    """A line for each step of the search; the decisions of a step follow each other. `state`: of the sweep now."""
    for (kind, bracket, rung), group in groupby(decisions, _step):
        found = list(group)
        if kind is DecisionKind.proposed:
            yield _proposals(found, state)
        elif kind in JUDGED:
            yield f"{_rung(bracket, rung)} ended: {_judgement(found, state.monitor)}"
        else:
            yield from (each.reason[:1].upper() + each.reason[1:] for each in found)


def _step(decision: Decision) -> tuple[DecisionKind, int | None, int | None]:
    """Decisions of one step have the same; promotions and prunings at the end of a rung belong together."""
    if decision.kind not in JUDGED:
        return decision.kind, None, None
    promoted = decision.kind is DecisionKind.promoted
    rung = decision.rung - 1 if promoted and decision.rung else decision.rung
    return DecisionKind.promoted, decision.bracket, rung


def _proposals(found: Sequence[Decision], state: Sweep) -> str:
    best = "" if state.best is None else f"; best {state.monitor} so far {state.best.value:.4g}"
    numbers = [each.trial for each in found if each.trial is not None]
    trials = f"Trial {numbers[0]}" if len(numbers) == 1 else f"Trials {numbers[0]} to {numbers[-1]}"
    return f"{trials}: {found[0].reason}{best}"


def _rung(bracket: int | None, rung: int | None) -> str:
    if rung is None:
        return "The search"
    return f"Rung {rung}" if bracket in (None, 1) else f"Rung {rung} of bracket {bracket}"


def _judgement(found: Sequence[Decision], monitor: str) -> str:
    promoted = [each for each in found if each.kind is DecisionKind.promoted]
    text = f"{len(promoted)} of {len(found)} promoted, {len(found) - len(promoted)} pruned"
    if not promoted or promoted[0].value is None:
        return text
    return f"{text}; best {monitor} {promoted[0].value:.4g} of trial {promoted[0].trial}"
