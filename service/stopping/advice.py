"""Which patience would have saved how many epochs at what regret, over recorded histories. Pure Python.

A history tells about a patience if, whatever it contains, the end of that patience is in it: so the choice of histories
does not depend on their outcome. A job without early stopping tells about all; one with patience q tells about smaller
ones, with the other settings of its rule.
"""

from __future__ import annotations

import operator
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from statistics import fmean, median

from service.domain.advice import EarlyStoppingAdvice, MeanInterval, PatienceOutcome
from service.domain.epoch import EpochValue
from service.spec.early_stopping import Monitor, Patience
from service.stopping.tracker import Tracker

MAX_PATIENCE = 50
MIN_HISTORIES = 20
"""Independent histories without which no patience is recommended."""
RESAMPLES = 400
NEVER = 1_000_000  # the largest patience


@dataclass(frozen=True)
class History:
    """The recorded history of a job that has ended."""

    unit: str
    """Jobs with the same one are not independent: they differ only in seed and fold."""
    rule: Patience | None
    """Its own rule; None without early stopping."""
    stopped_early: bool
    """Whether early stopping has ended it."""
    epochs: Sequence[EpochValue]

    @property
    def tells(self) -> int:
        """The largest patience that it tells about."""
        return MAX_PATIENCE if self.rule is None else min(self.rule.patience - 1, MAX_PATIENCE)


@dataclass(frozen=True)
class Outcome:
    """What a patience would have done to a job."""

    saved: int
    epochs: int
    regret: float | None
    """Relative regret; None where it is undefined, as the best value is 0."""


def advise(
    histories: Sequence[History], monitor: Monitor, *, max_regret: float, truncated: bool = False
) -> EarlyStoppingAdvice:
    """Replay all patiences on these histories, whose monitored value is `monitor`."""
    told = [history for history in histories if history.tells > 0 and _has_value(history)]
    outcomes = [(history.unit, _outcomes(history, monitor)) for history in told]
    patiences = [_patience_outcome(patience, outcomes) for patience in range(1, MAX_PATIENCE + 1)]
    found = [outcome for outcome in patiences if outcome is not None]
    safe = [each for each in found if each.histories >= MIN_HISTORIES and _at_most(each.relative_regret, max_regret)]
    advice = EarlyStoppingAdvice(
        monitor=monitor,
        jobs=len(told),
        histories=len({history.unit for history in told}),
        stopped_early=sum(history.stopped_early for history in told),
        truncated=truncated,
        patiences=found,
        max_regret=max_regret,
        recommended=safe[0].patience if safe else None,
        sentences=[],
    )
    return advice.model_copy(update={"sentences": _sentences(advice, told)})


def _has_value(history: History) -> bool:
    return any(epoch.value is not None for epoch in history.epochs)


def _at_most(regret: MeanInterval, most: float) -> bool:
    return regret.high is not None and regret.high <= most


def _outcomes(history: History, monitor: Monitor) -> list[Outcome]:
    """The outcome of each patience from 1 on that the history tells about.

    One pass suffices: how long an epoch has waited does not depend on the patience.
    """
    rule = (history.rule or Patience(monitor=monitor)).model_copy(update={"patience": NEVER})
    tracker = Tracker(monitor, rule)
    waits, bests = [], list[float | None]()
    for number, epoch in enumerate(history.epochs, start=1):
        tracker, decision = tracker.update(number, epoch.value, epoch.train_loss)
        waits.append(decision.wait if number >= rule.min_epochs else 0)
        bests.append(tracker.best_value)
        if decision.stop is not None or (epoch.non_finite and rule.on_non_finite != "ignore"):
            break  # whatever the patience
    longest = list(accumulate(waits, max))
    found, stop = [], 0
    for patience in range(1, history.tells + 1):
        while stop < len(longest) - 1 and longest[stop] < patience:
            stop += 1
        found.append(_outcome(bests, stop, len(history.epochs)))
    return found


def _outcome(bests: Sequence[float | None], stop: int, epochs: int) -> Outcome:
    """`stop`: the index of the last epoch that would have been trained."""
    kept, best = bests[stop], bests[-1]
    regret = None
    if kept is not None and best is not None:
        regret = 0.0 if kept == best else abs(kept - best) / abs(best) if best else None
    return Outcome(epochs - stop - 1, epochs, regret)


def _patience_outcome(patience: int, outcomes: Sequence[tuple[str, Sequence[Outcome]]]) -> PatienceOutcome | None:
    """The outcome over all histories that tell about this patience; None without one."""
    units = defaultdict[str, list[Outcome]](list)
    for unit, found in outcomes:
        if len(found) >= patience:
            units[unit].append(found[patience - 1])
    regrets = {unit: [each.regret for each in found if each.regret is not None] for unit, found in units.items()}
    told = [unit for unit, found in regrets.items() if found]
    if not told:
        return None
    saved = [fmean(each.saved for each in units[unit]) for unit in told]
    epochs = [fmean(each.epochs for each in units[unit]) for unit in told]
    regret = [fmean(regrets[unit]) for unit in told]
    return PatienceOutcome(
        patience=patience,
        jobs=sum(len(units[unit]) for unit in told),
        histories=len(told),
        epochs_saved=_ratio(saved, epochs),
        relative_regret=_ratio(regret, [1.0] * len(told)),
        missed=fmean(fmean(each > 0 for each in regrets[unit]) for unit in told),
    )


def _ratio(top: Sequence[float], bottom: Sequence[float]) -> MeanInterval:
    """The ratio of two sums over independent units, with a percentile bootstrap interval."""
    value = sum(top) / sum(bottom)
    if len(top) < 2:
        return MeanInterval(mean=value, low=None, high=None)
    if not any(top):
        return MeanInterval(mean=0.0, low=0.0, high=0.0)
    draws = sorted(
        sum(map(operator.mul, counts, top)) / sum(map(operator.mul, counts, bottom)) for counts in _resamples(len(top))
    )
    outside = round(0.025 * len(draws))
    return MeanInterval(mean=value, low=draws[outside], high=draws[-1 - outside])


@lru_cache(maxsize=2)
def _resamples(n: int) -> list[list[int]]:
    """How often each of `n` units is drawn, for each resample; always the same draws."""
    draws, found = random.Random(0), []
    for _ in range(RESAMPLES):
        counts = [0] * n
        for index in draws.choices(range(n), k=n):
            counts[index] += 1
        found.append(counts)
    return found


def _sentences(advice: EarlyStoppingAdvice, told: Sequence[History]) -> list[str]:
    return [_recommendation(advice), *_reservations(advice, told)]


def _recommendation(advice: EarlyStoppingAdvice) -> str:
    most = f"{100 * advice.max_regret:.3g}%"
    enough = [each.patience for each in advice.patiences if each.histories >= MIN_HISTORIES]
    if not enough:
        return (
            f"Too few histories: {advice.histories} independent ones tell about early stopping on {advice.monitor}, and"
            f" a recommendation needs {MIN_HISTORIES}."
        )
    if advice.recommended is None:
        return (
            f"No patience up to {enough[-1]}, the largest that enough histories tell about, has a relative regret that"
            f" is certainly at most {most} in the mean."
        )
    chosen = next(each for each in advice.patiences if each.patience == advice.recommended)
    return (
        f"Patience {chosen.patience} would have saved {_percent(chosen.epochs_saved)} of the epochs, with a relative"
        f" regret of {_percent(chosen.relative_regret)} in the mean over {chosen.histories} independent histories. It"
        f" is the smallest patience whose interval of the regret stays below {most}."
    )


def _reservations(advice: EarlyStoppingAdvice, told: Sequence[History]) -> Iterator[str]:
    if advice.stopped_early:
        own = median(history.rule.patience for history in told if history.rule is not None)
        yield (
            f"Early stopping has ended {advice.stopped_early} of the {advice.jobs} jobs, with a patience of {own:g} in"
            " the median: better epochs may have come later, so that regrets are at least these."
        )
    if advice.truncated:
        yield "Not all matching jobs were read: the newest ones, without very long histories."


def _percent(interval: MeanInterval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.mean:.1%}"
    return f"{interval.mean:.1%} (95% interval {interval.low:.1%} to {interval.high:.1%})"
