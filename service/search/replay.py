"""Replay of a search over recorded curves: what halving or early stopping would have cost, and what it would have
missed. Nothing is trained."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.domain.status import Status
from service.domain.sweep_replay import ReplayedRule, ReplayedTrial, ShortCurve
from service.search.rungs import decide, halving, levels, ranking
from service.spec.sweep_replay import Halving

if TYPE_CHECKING:
    from service.spec.early_stopping import EarlyStopping


_NAMES = {"patience": "Patience", "gl": "Generalization loss", "pq": "Progress quotient", "up": "Successive rises"}


@dataclass(frozen=True)
class Stop:
    """Where a stopping rule would have ended a job."""

    epochs: int
    """Epochs that it would have trained, or those on record."""
    value: float | None
    """The best value by then."""
    exact: bool
    """Whether the curve is long enough to tell."""


@dataclass(frozen=True)
class Curve:
    """The recorded curve of a job."""

    job: str
    status: Status
    epochs: int
    """Epochs on record."""
    complete: bool
    """Whether training has ended by itself, so that there would be no more epochs."""
    improvements: Sequence[tuple[int, float]]
    """Each best epoch with its value, in order."""
    stops: Sequence[Stop]
    """By stopping rule."""

    def best_at(self, epoch: int) -> float | None:
        """The best value up to an epoch."""
        place = bisect_right(self.improvements, epoch, key=lambda improvement: improvement[0])
        return self.improvements[place - 1][1] if place else None


@dataclass(frozen=True)
class Trial:
    """A trial with the curves of its jobs."""

    number: int
    point: dict[str, Any]
    curves: Sequence[Curve]

    def value_at(self, epoch: int) -> float | None:
        """Its value at the end of a rung; None if a job has no value, or has failed by then."""
        return _mean([None if _failed(curve, epoch) else curve.best_at(epoch) for curve in self.curves])

    def short(self, epoch: int) -> list[ShortCurve]:
        """Its curves that end before this epoch, though their jobs would have trained on."""
        return [
            _short(self, curve, epoch)
            for curve in self.curves
            if curve.epochs < epoch and not curve.complete and curve.status is not Status.failed
        ]


@dataclass(frozen=True)
class _Outcome:
    """What a rule would have done to a sweep."""

    values: dict[int, float | None]
    """Of the trials that it would have trained to the end, by number."""
    epochs: int
    short: list[ShortCurve]
    text: str


@dataclass(frozen=True)
class Recorded:
    """The recorded curves of a sweep."""

    trials: Sequence[Trial]
    max_epochs: int
    larger_is_better: bool

    @property
    def epochs(self) -> int:
        """Epochs of all jobs."""
        return sum(curve.epochs for trial in self.trials for curve in trial.curves)

    @property
    def best(self) -> ReplayedTrial | None:
        """The best trial on record."""
        return self.first({trial.number: trial.value_at(self.max_epochs) for trial in self.trials})

    def first(self, values: dict[int, float | None]) -> ReplayedTrial | None:
        """The best of these trials; None if none has a finite value."""
        for number in ranking(values, larger_is_better=self.larger_is_better)[:1]:
            value = values[number]
            if value is not None and math.isfinite(value):
                point = next(trial.point for trial in self.trials if trial.number == number)
                return ReplayedTrial(trial=number, point=point, value=value)
        return None


def replay_halving(recorded: Recorded, rule: Halving) -> ReplayedRule:
    """What synchronous successive halving would have done, by the decisions of a sweep's search."""
    epochs = levels(recorded.max_epochs, rule.eta, rule.min_epochs)
    bracket = halving(len(recorded.trials), epochs, rule.eta)
    left = {trial.number: trial for trial in recorded.trials}
    cost, short, values = 0, list[ShortCurve](), dict[int, float | None]()
    for number, rung in enumerate(bracket.rungs, start=1):
        values = {trial.number: trial.value_at(rung.epochs) for trial in left.values()}
        if number == len(bracket.rungs):
            promoted = set[int]()
        else:
            promotions = bracket.rungs[number].trials
            promoted = set(decide(values, promotions, larger_is_better=recorded.larger_is_better).promoted)
        for trial in (trial for trial in left.values() if trial.number not in promoted):
            cost += sum(min(curve.epochs, rung.epochs) for curve in trial.curves)
        short += [each for trial in left.values() for each in trial.short(rung.epochs)]
        if not promoted:
            break
        left = {number: trial for number, trial in left.items() if number in promoted}
    first, *later = (f"to epoch {rung.epochs:,}" for rung in bracket.rungs)
    rungs = [f"{rung.trials:,} {to}" for rung, to in zip(bracket.rungs[1:], later, strict=True)]
    text = ", ".join([f"{bracket.trials:,} trials {first}", *rungs])
    longest = {each.job: each for each in short}  # by the last rung that needs it
    in_order = sorted(longest.values(), key=lambda each: (each.trial, each.job))
    return _replayed(recorded, rule, _Outcome(values, cost, in_order, text))


def replay_stopping(recorded: Recorded, rule: EarlyStopping, place: int) -> ReplayedRule:
    """What a stopping rule, the one at `place` of each curve's `stops`, would have done to all jobs."""
    values, cost, short = dict[int, float | None](), 0, list[ShortCurve]()
    for trial in recorded.trials:
        stops = [curve.stops[place] for curve in trial.curves]
        cost += sum(stop.epochs for stop in stops)
        values[trial.number] = _mean(
            [
                None if _failed(curve, stop.epochs) and not stop.exact else stop.value
                for curve, stop in zip(trial.curves, stops, strict=True)
            ]
        )
        short += [
            _short(trial, curve, None)
            for curve, stop in zip(trial.curves, stops, strict=True)
            if not stop.exact and curve.status is not Status.failed
        ]
    return _replayed(recorded, rule, _Outcome(values, cost, short, f"{_NAMES[rule.rule]} on each job"))


def _replayed(recorded: Recorded, rule: Halving | EarlyStopping, outcome: _Outcome) -> ReplayedRule:
    best, winner = recorded.best, recorded.first(outcome.values)
    regret = None if best is None or winner is None else abs(best.value - winner.value)
    result = ReplayedRule(
        rule=rule,
        epochs=outcome.epochs,
        saved=1 - outcome.epochs / recorded.epochs,
        winner=winner,
        regret=regret,
        relative_regret=regret / abs(best.value) if regret is not None and best is not None and best.value else None,
        exact=not outcome.short,
        short=outcome.short,
        reason="",
    )
    return result.model_copy(update={"reason": _reason(result, best, outcome.text)})


def _reason(result: ReplayedRule, best: ReplayedTrial | None, text: str) -> str:
    share = f"{abs(result.saved):.1%} {'fewer' if result.saved > 0 else 'more'} than" if result.saved else "as many as"
    sentences = [f"{text}: {result.epochs:,} epochs, {share} on record."]
    if result.winner is None or best is None:
        sentences.append("No trial has a value.")
    elif result.winner.trial == best.trial:
        kept = "with its best value" if result.regret == 0 else f"at {result.winner.value:.6g} instead"
        sentences.append(f"It finds the best trial on record, {best.trial}, {kept}.")
    else:
        sentences.append(
            f"It finds trial {result.winner.trial} at {result.winner.value:.6g}, and misses trial {best.trial}"
            f" at {best.value:.6g}."
        )
    if result.short:
        sentences.append(_what_to_do(result.short))
    return " ".join(sentences)


def _what_to_do(short: Sequence[ShortCurve]) -> str:
    pruned = sum(each.status is Status.pruned for each in short)
    live = sum(not each.status.terminal for each in short)
    ended = len(short) - pruned - live
    parts = [
        f"{pruned:,} pruned, which can be revived" if pruned else "",
        f"{ended:,} ended, which can be forked with another stopping rule" if ended else "",
        f"{live:,} not ended yet" if live else "",
    ]
    found = "; ".join(filter(None, parts))
    return f"{len(short):,} {'curves are' if len(short) > 1 else 'curve is'} too short to tell ({found})."


def _short(trial: Trial, curve: Curve, needed: int | None) -> ShortCurve:
    return ShortCurve(job=curve.job, trial=trial.number, status=curve.status, epochs=curve.epochs, needed=needed)


def _failed(curve: Curve, epoch: int) -> bool:
    return curve.status is Status.failed and curve.epochs < epoch


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, as a search computes it; None unless all are finite."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return None if not values or len(finite) < len(values) else math.fsum(finite) / len(finite)
