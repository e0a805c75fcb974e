"""Points of a sweep compared with the best: what is paired, what is unknown, and how often a verdict is false."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.comparison.leaderboard import with_comparisons
from service.domain.status import Status, StopReason
from service.domain.sweep import SweepPoint, SweepResult, VersusBest
from service.store.sweep_results import grouped


def row(value: float | None, **point: Any) -> SweepResult:
    return SweepResult(
        job="job_1",
        status=Status.succeeded,
        stop_reason=StopReason.early_stopped,
        point={name.replace("__", "."): changed for name, changed in point.items()},
        best_epoch=None if value is None else 3,
        value=value,
        metrics={},
        test_metrics=None,
        epochs=5,
        seconds=1.0,
    )


def summary(rows: Sequence[SweepResult], *, larger: bool = False, folds: int | None = None) -> list[SweepPoint]:
    groups = grouped(rows, larger_is_better=larger, folds=folds)
    return with_comparisons(groups, larger_is_better=larger, folds=folds)


def verdicts(rows: Sequence[SweepResult], **options: Any) -> dict[Any, VersusBest]:
    """By `lr`."""
    points = summary(rows, **options)
    return {point.point.get("lr"): point.versus_best for point in points if point.versus_best is not None}


def seeds(lr: float, *values: float | None) -> list[SweepResult]:
    return [row(value, lr=lr, seed=seed) for seed, value in enumerate(values)]


@pytest.mark.parametrize("larger", [False, True])
def test_a_clear_difference_is_worse_in_the_direction_of_the_metric(larger: bool) -> None:
    low, high = seeds(1, 0.1, 0.11, 0.12, 0.11), seeds(2, 0.9, 0.93, 0.91, 0.92)

    found = verdicts([*low, *high], larger=larger)

    best, worse = (2, 1) if larger else (1, 2)
    assert (found[best].verdict, found[worse].verdict) == ("best", "worse")
    assert found[worse].difference == pytest.approx(-0.805 if larger else 0.805)


def test_seeds_that_one_of_them_lacks_are_left_out() -> None:
    found = verdicts([*seeds(1, 0.1, 0.2, None, 0.3), *seeds(2, 0.9, 0.91, 0.95)])

    assert found[2].difference == pytest.approx((0.8 + 0.71) / 2)


def test_seeds_of_a_fold_are_averaged_before_the_test() -> None:
    def folds(lr: float, *values: tuple[float, float]) -> list[SweepResult]:
        return [
            row(value, lr=lr, split__folds=3, split__fold=fold, seed=seed)
            for fold, found in enumerate(values, start=1)
            for seed, value in enumerate(found)
        ]

    found = verdicts([*folds(1, (0.0, 0.2), (0.1, 0.3), (0.2, 0.2)), *folds(2, (0.3, 0.3), (0.3, 0.5), (0.4, 0.8))])

    differences = [0.2, 0.2, 0.4]
    assert found[2].difference == pytest.approx(np.mean(differences))
    assert found[2].standard_error == pytest.approx(np.std(differences, ddof=1) * math.sqrt(1 / 3 + 1 / 2))


@pytest.mark.parametrize("place", ["base", "point"])
def test_folds_of_the_base_count_as_those_of_the_sweep(place: str) -> None:
    named = {} if place == "base" else {"split__folds": 5}
    rows = [row(lr + fold**2, lr=lr, split__fold=fold, **named) for lr in (1.0, 2.0) for fold in (1, 2, 3)]

    points = summary(rows, folds=5 if place == "base" else None)

    assert points[0].value is not None
    assert points[0].value.standard_error == pytest.approx(np.std([1, 4, 9], ddof=1) * math.sqrt(1 / 3 + 1 / 4))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split__seed": 1}, "it was validated on other rows than the best: split.seed differs"),
        ({"data__rows": 90}, "it was validated on other rows than the best: data.rows differs"),
    ],
)
def test_values_of_other_rows_are_not_compared(changes: dict[str, Any], reason: str) -> None:
    others = [row(value, lr=2, seed=seed, **changes) for seed, value in enumerate([0.5, 0.6])]

    found = verdicts([*seeds(1, 0.1, 0.2), *others])

    assert (found[2].verdict, found[2].reason) == ("unknown", reason)


def test_columns_and_shares_of_the_training_rows_leave_the_validation_rows_as_they_are() -> None:
    others = [
        row(0.5 + seed / 10, lr=2, seed=seed, data__features=["a"], split__train_fraction=0.5) for seed in (0, 1, 2)
    ]

    assert verdicts([*seeds(1, 0.1, 0.21, 0.32), *others])[2].verdict == "worse"


def test_seeds_of_different_numbers_have_nothing_in_common() -> None:
    found = verdicts([*seeds(1, 0.1, 0.2), row(0.5, lr=2, seed=7), row(0.6, lr=2, seed=8)])

    assert (found[2].verdict, found[2].reason) == ("unknown", "it has no seed and fold in common with the best")


def test_equal_differences_are_unknown_and_equal_values_are_not_distinguishable() -> None:
    found = verdicts([*seeds(1, 0.5, 0.6), *seeds(2, 0.6, 0.7), *seeds(3, 0.5, 0.6)])

    assert (found[2].verdict, found[2].p_value) == ("unknown", None)
    assert (found[3].verdict, found[3].p_value) == ("not_distinguishable", 1.0)


def test_a_point_that_is_better_where_both_have_runs_is_not_worse() -> None:
    found = verdicts([*seeds(1, 0.5, 0.61, 0.52, 0.0, 0.0), *seeds(2, 0.4, 0.5, 0.43)])

    assert found[2].verdict == "not_distinguishable"
    assert found[2].reason.startswith("better in the runs that both have")


def test_a_pruned_point_is_compared_as_far_as_it_was_trained() -> None:
    pruned = [each.model_copy(update={"status": Status.pruned}) for each in seeds(2, 0.9, 0.91, 0.95)]

    found = verdicts([*seeds(1, 0.1, 0.2, 0.3), *pruned])

    assert found[2].verdict == "worse"
    assert found[2].reason.endswith("; pruned, so compared at fewer epochs")


def test_values_that_are_too_large_are_unknown() -> None:
    found = verdicts([*seeds(1, 1.0, 2.0), *seeds(2, 1.7e308, 1.7e308), *seeds(3, None)])

    assert found[2].reason == "the values are too large for a mean"
    assert found[3].reason == "no job has a value yet"


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), min_size=1, max_size=6), st.booleans())
def test_the_verdict_agrees_with_the_p_value_and_the_difference(values: list[list[float]], larger: bool) -> None:
    rows = [result for lr, found in enumerate(values) for result in seeds(lr, *found)]

    first, *others = summary(rows, larger=larger)

    assert first.versus_best is not None
    assert (first.versus_best.verdict, first.versus_best.difference) == ("best", 0.0)
    for versus in (point.versus_best for point in others):
        assert versus is not None
        assert (versus.verdict == "unknown") == (versus.p_value is None)
        if versus.verdict == "worse":
            assert versus.difference is not None
            assert versus.p_value is not None
            assert versus.p_value <= 0.05
            assert versus.difference < 0 if larger else versus.difference > 0


@pytest.mark.e2e
@pytest.mark.parametrize("means", [[0.0] * 2, [0.0] * 6, [0.0, 0.1, *[9.0] * 4], [0.0, 0.0, 0.0, 0.3, 0.6, 0.9]])
def test_one_that_is_as_good_as_the_best_is_called_worse_in_at_most_5_percent_of_simulations(
    means: list[float],
) -> None:
    draws = np.random.default_rng(7)
    simulations, false = 1_000, 0

    for _ in range(simulations):
        rows = [one for lr, mean in enumerate(means) for one in seeds(lr, *draws.normal(mean, 1.0, 4))]
        false += any(verdicts(rows)[lr].verdict == "worse" for lr, mean in enumerate(means) if mean == 0.0)

    assert false / simulations <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / simulations)


@pytest.mark.e2e
def test_over_folds_of_real_fits_false_verdicts_are_rare_and_without_correction_they_are_not() -> None:
    """Six linear models, each of one column; the columns are alike, so no model is better than another."""
    draws = np.random.default_rng(3)
    simulations, false, uncorrected = 300, 0, 0

    for _ in range(simulations):
        x = draws.normal(size=(60, 6))
        y = x.sum(axis=1) + draws.normal(size=60)
        rows = [
            row(value, lr=column, split__folds=5, split__repeat=repeat, split__fold=fold)
            for repeat in (1, 2, 3, 4)
            for fold, held_out in enumerate(np.array_split(draws.permutation(60), 5), start=1)
            for column, value in enumerate(losses(x, y, held_out))
        ]
        false += any(versus.verdict == "worse" for versus in verdicts(rows).values())
        independent = [each.model_copy(update={"point": as_seed(each.point)}) for each in rows]
        uncorrected += any(versus.verdict == "worse" for versus in verdicts(independent).values())

    assert false / simulations <= 0.05
    assert uncorrected / simulations > 0.15


def losses(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], held_out: np.ndarray[Any, Any]) -> list[float]:
    """The error of each column's regression on the rows held out."""
    train = np.setdiff1d(np.arange(len(y)), held_out)
    slopes = (x[train] * y[train, None]).sum(axis=0) / (x[train] ** 2).sum(axis=0)
    return [float(error) for error in ((y[held_out, None] - x[held_out] * slopes) ** 2).mean(axis=0)]


def as_seed(point: dict[str, Any]) -> dict[str, Any]:
    """The point as if its folds were independent seeds."""
    return {"lr": point["lr"], "seed": 10 * point["split.repeat"] + point["split.fold"]}
