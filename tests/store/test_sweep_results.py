"""The leaderboard of a sweep, and its summary per point, on both databases."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status, StopReason
from service.domain.sweep import Spread, SweepResult
from service.errors import NotFound
from service.store import sweep_results
from service.store.engine import Database
from service.store.sweep_results import Order, grouped
from tests.store.records import claim
from tests.store.sweep_records import BASE, create, jobs_of, train

NUMBERS = st.floats(-1e6, 1e6)


def row(value: float | None, best_epoch: int | None = 3, **point: Any) -> SweepResult:
    return SweepResult(
        job="job_1",
        status=Status.succeeded,
        stop_reason=StopReason.early_stopped,
        point=point,
        best_epoch=best_epoch,
        value=value,
        metrics={} if value is None else {"val_loss": value, "val_roc_auc": None},
        test_metrics=None,
        epochs=5,
        seconds=1.0,
    )


@pytest.mark.parametrize(("monitor", "order"), [("val_loss", [1, 2, 0]), ("val_accuracy", [0, 2, 1])])
def test_the_leaderboard_is_sorted_with_missing_values_last(database: Database, monitor: str, order: list[int]) -> None:
    sweep = create(database, base={**BASE, "early_stopping": {"monitor": monitor}}, replicates=5)
    valued = [train(database, **{monitor: value}) for value in (0.7, 0.2, 0.5)]
    failed = train(database, Status.failed)
    (queued,) = (job.id for job in jobs_of(database, sweep) if job.status is Status.queued)

    with database.reading() as connection:
        best_first = sweep_results.results(connection, sweep.id)
        submitted = sweep_results.results(connection, sweep.id, order=Order.submitted)
        part = sweep_results.results(connection, sweep.id, limit=2, offset=1)

    assert [result.job for result in best_first] == [*(valued[place] for place in order), failed, queued]
    assert [result.job for result in submitted] == [*valued, failed, queued]
    assert part == best_first[1:3]


def test_a_row_has_the_point_and_the_result(database: Database) -> None:
    sweep = create(database, grid={"optimizer.lr": [0.1, 0.2]})
    trained = train(database, val_loss=0.5, val_accuracy=0.75)
    claim(database)

    with database.reading() as connection:
        first, second = sweep_results.results(connection, sweep.id)

    assert (first.job, first.status, first.stop_reason) == (trained, Status.succeeded, StopReason.max_epochs)
    assert (first.point, first.best_epoch, first.value, first.epochs) == ({"optimizer.lr": 0.1}, 2, 0.5, 2)
    assert first.metrics == {"val_loss": 0.5, "val_accuracy": 0.75}
    assert first.seconds is not None
    assert 0 <= first.seconds < 60
    assert (second.point, second.value, second.metrics, second.seconds) == ({"optimizer.lr": 0.2}, None, {}, None)


def test_results_of_an_unknown_sweep_are_not_found(database: Database) -> None:
    sweep = create(database)

    with database.reading(DEFAULT_TENANT) as ours, database.reading("other") as theirs:
        for read in (sweep_results.results, sweep_results.summary):
            with pytest.raises(NotFound):
                read(ours, "swp_0")
            with pytest.raises(NotFound):
                read(theirs, sweep.id)


@pytest.mark.parametrize(("monitor", "best"), [("val_loss", 16), ("val_accuracy", 8)])
def test_points_are_sorted_by_mean(database: Database, monitor: str, best: int) -> None:
    base = {**BASE, "early_stopping": {"monitor": monitor}}
    sweep = create(database, base=base, grid={"batch_size": [8, 16, 32]}, replicates=2)
    for value in (0.6, 0.4, 0.1, 0.2):
        train(database, **{monitor: value})

    with database.reading() as connection:
        points = sweep_results.summary(connection, sweep.id)

    assert [point.point for point in points] == [{"batch_size": best}, {"batch_size": 24 - best}, {"batch_size": 32}]
    assert [point.value and point.value.n for point in points] == [2, 2, None]
    assert [point.jobs for point in points] == [2, 2, 2]


@given(st.dictionaries(st.integers(0, 5), st.lists(NUMBERS, min_size=1, max_size=6), min_size=1), st.booleans())
def test_mean_and_std_equal_numpys(groups: dict[int, list[float]], larger: bool) -> None:
    rows = [row(v, lr=group, seed=seed) for group, values in groups.items() for seed, v in enumerate(values)]

    points = [point for point, _ in grouped(rows, larger_is_better=larger)]

    assert len(points) == len(groups)
    for point in points:
        values = groups[point.point["lr"]]
        assert point.value == point.metrics["val_loss"]
        assert point.value is not None
        assert point.value.n == point.jobs == len(values)
        assert point.value.mean == pytest.approx(np.mean(values), abs=1e-6)
        expected = None if len(values) == 1 else pytest.approx(np.std(values, ddof=1), abs=1e-6)
        assert point.value.std == expected
    means = [point.value.mean for point in points if point.value and point.value.mean is not None]
    assert means == sorted(means, reverse=larger)


def test_a_summary_skips_missing_values() -> None:
    rows = [row(0.5, 4, seed=0), row(0.7, 9, seed=1), row(None, None, seed=2), row(0.6, 5, seed=3)]

    ((point, _),) = grouped(rows, larger_is_better=False)

    assert (point.point, point.jobs, point.value and point.value.n) == ({}, 4, 3)
    assert list(point.metrics) == ["val_loss"]
    assert point.best_epoch is not None
    assert (point.best_epoch.min, point.best_epoch.median, point.best_epoch.max) == (4, 5.0, 9)


def test_overflowing_sums_are_null() -> None:
    ((point, _),) = grouped([row(1.7e308, seed=0), row(1.7e308, seed=1)], larger_is_better=False)

    assert point.value is not None
    assert (point.value.mean, point.value.std) == (None, None)
    json.dumps(point.model_dump(), allow_nan=False)


def test_the_same_fold_of_another_repeat_is_another_fold() -> None:
    values = {(1, 1): 1.0, (1, 2): 3.0, (2, 1): 5.0, (2, 2): 7.0}
    rows = [
        row(value + seed, **{"split.folds": 2, "split.repeat": repeat, "split.fold": fold, "seed": seed})
        for (repeat, fold), value in values.items()
        for seed in (0, 2)
    ]

    ((point, _),) = grouped(rows, larger_is_better=False)

    assert (point.point, point.jobs) == ({"split.folds": 2}, 8)
    assert point.value is not None
    assert (point.value.n, point.value.mean, point.value.std) == (4, 5.0, pytest.approx(2.582, abs=1e-3))


def test_seeds_are_averaged_before_folds() -> None:
    values = {1: [0.0, 2.0], 2: [2.0, 4.0], 3: [5.0, None]}
    rows = [
        row(value, None if value is None else 3, **{"split.folds": 3, "split.fold": fold, "seed": seed, "lr": 0.1})
        for fold, found in values.items()
        for seed, value in enumerate(found)
    ]

    ((point, _),) = grouped(rows, larger_is_better=False)

    assert (point.point, point.jobs) == ({"split.folds": 3, "lr": 0.1}, 6)
    assert (
        point.value
        == point.metrics["val_loss"]
        == Spread(n=3, mean=3.0, std=2.0, standard_error=2 * math.sqrt(1 / 3 + 1 / 2))
    )
