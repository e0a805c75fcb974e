"""Which points of a sweep can be told from the best one: paired tests, corrected for the number of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from service.comparison.paired_test import PairedTest, adjusted_for_selection, mean_of, paired_test
from service.domain.status import Status
from service.domain.sweep import SweepPoint, Verdict, VersusBest
from service.spec.sweep import path_of

if TYPE_CHECKING:
    from service.domain.sweep import SweepResult

ALPHA = 0.05
SAME_ROWS = frozenset({"data.features", "data.weight", "split.train_fraction"})
"""Fields of `data` and `split` that leave the validation rows as they are."""

Group = tuple[SweepPoint, Sequence["SweepResult"]]
"""A point and its jobs."""


def with_comparisons(groups: Sequence[Group], *, larger_is_better: bool, folds: int | None) -> list[SweepPoint]:
    """The points, each compared with the first one. `groups`: best mean first, those without a value last.

    `folds`: those of the base spec, for points that do not name their number.
    """
    if not groups:
        return []
    best = groups[0]
    compared = [_compared(group, best, number_of_folds(group[1], folds)) for group in groups[1:]]
    tested = [test.p_value for test in compared if isinstance(test, PairedTest) and test.p_value is not None]
    adjusted = iter(adjusted_for_selection(tested))
    found = [_best(groups)]
    for test in compared:
        if isinstance(test, str):
            found.append(VersusBest(verdict="unknown", reason=test))
        elif test.p_value is None:
            found.append(_untested(test))
        else:
            found.append(_verdict(test, next(adjusted), len(tested), larger_is_better=larger_is_better))
    return [
        point.model_copy(update={"versus_best": _with_pruning(versus, rows)})
        for (point, rows), versus in zip(groups, found, strict=True)
    ]


def _with_pruning(versus: VersusBest, rows: Sequence[SweepResult]) -> VersusBest:
    """Say if the point was pruned: it might have become as good as the best."""
    if versus.verdict == "best" or all(row.status is not Status.pruned for row in rows):
        return versus
    return versus.model_copy(update={"reason": f"{versus.reason}; pruned, so compared at fewer epochs"})


def number_of_folds(rows: Sequence[SweepResult], folds: int | None) -> int | None:
    """How many folds there are of which the jobs of a point validate on one each; None without cross-validation.

    `folds`: those of the base spec.
    """
    for point in (row.point for row in rows if "split.fold" in row.point):
        split = point.get("split")
        found: int | None = point.get("split.folds", split.get("folds") if isinstance(split, dict) else folds)
        return found
    return None


def _best(groups: Sequence[Group]) -> VersusBest:
    point, rows = groups[0]
    if point.value is None or point.value.mean is None:
        return VersusBest(verdict="unknown", reason="no job has a value yet")
    if len(groups) == 1:
        reason = "the only configuration"
    elif len(_by_unit(rows)) < 2:
        reason = f"best value of {len(groups)} configurations; it has one run, so chance may have decided"
    else:
        reason = f"best mean of {len(groups)} configurations"
    return VersusBest(difference=0.0, verdict="best", reason=reason)


def _compared(group: Group, best: Group, folds: int | None) -> PairedTest | str:
    """The test of this point against the best one, or why there is none."""
    (point, rows), (best_point, best_rows) = group, best
    if point.value is None:
        return "no job has a value yet"
    if changed := sorted(_rows_chosen_by(point.point).items() ^ _rows_chosen_by(best_point.point).items()):
        return f"it was validated on other rows than the best: {changed[0][0]} differs"
    pairs = _pairs(_by_unit(rows), _by_unit(best_rows))
    if not pairs:
        return "it has no seed and fold in common with the best"
    return paired_test(pairs, folds)


def _untested(test: PairedTest) -> VersusBest:
    if not math.isfinite(test.mean):
        return VersusBest(verdict="unknown", reason="the values are too large for a mean")
    if test.standard_error is None:
        reason = "one run in common with the best: how much runs vary is not known; train several seeds, or folds"
    else:
        reason = "every run differs from the best by the same amount: without variation no test is possible"
    return VersusBest(difference=test.mean, standard_error=test.standard_error, verdict="unknown", reason=reason)


def _verdict(test: PairedTest, p_value: float, tests: int, *, larger_is_better: bool) -> VersusBest:
    falls = test.mean < 0
    clear = p_value <= ALPHA
    corrected = f", corrected for {tests + 1} configurations" if tests > 1 else ""
    measured = f"by {abs(test.mean):.3g} (standard error {test.standard_error:.2g}, p = {p_value:.2g}{corrected})"
    verdict: Verdict = "not_distinguishable"
    if clear and falls == larger_is_better:
        verdict, reason = "worse", f"worse {measured}"
    elif clear:
        reason = f"better in the runs that both have, {measured}"
    else:
        reason = f"no clear difference: {'lower' if falls else 'higher'} {measured}"
    return VersusBest(
        difference=test.mean,
        standard_error=test.standard_error,
        p_value=p_value,
        verdict=verdict,
        reason=reason,
    )


def _rows_chosen_by(point: dict[str, Any]) -> dict[str, str]:
    """The changes of a point that decide which rows validate, as text."""
    names = (name for name in point if path_of(name)[0] in ("data", "split") and name not in SAME_ROWS)
    return {name: repr(point[name]) for name in names}


Run = tuple[Any, Any]


def _by_unit(rows: Sequence[SweepResult]) -> dict[Any, dict[Run, float]]:
    """Values by what is independent: the fold of a repeat, with the values of its seeds; without folds, the seed."""
    found: dict[Any, dict[Run, float]] = {}
    for row in rows:
        if row.value is not None:
            run = (row.point.get("seed"), row.point.get("split.train_seed"))
            fold = row.point.get("split.fold")
            unit = run if fold is None else (row.point.get("split.repeat"), fold)
            found.setdefault(unit, {})[run] = row.value
    return found


def _pairs(first: dict[Any, dict[Run, float]], second: dict[Any, dict[Run, float]]) -> list[tuple[float, float]]:
    """The values of both in each unit, averaged over the seeds that both have."""
    pairs = []
    for unit, runs_of_unit in first.items():
        runs = [run for run in runs_of_unit if run in second.get(unit, {})]
        if runs:
            pairs.append((mean_of([first[unit][run] for run in runs]), mean_of([second[unit][run] for run in runs])))
    return pairs
