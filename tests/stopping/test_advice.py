"""Advice about patience: each patience as a replay has it, and what can be recommended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.advice import EarlyStoppingAdvice
from service.domain.epoch import Epoch, EpochValue
from service.spec.early_stopping import Monitor, Patience
from service.stopping.advice import MIN_HISTORIES, History, advise
from service.stopping.replay import replay
from tests.stopping.test_replay import common, histories, rows_of, run, spec

LOSS = Monitor.val_loss


def history(rows: list[Epoch], rule: Patience | None = None, unit: str = "job_1") -> History:
    recorded = [EpochValue(row.value(LOSS), row.train_loss, row.non_finite) for row in rows]
    return History(unit, rule, rule is not None, recorded)


def noisy_curves(jobs: int, epochs: int = 80) -> list[list[Epoch]]:
    """Losses that fall for 20 epochs and then rise slowly, with noise."""
    draws = np.random.default_rng(0)
    steps = np.arange(epochs)
    trend = 0.5 + np.exp(-steps / 6) + 0.002 * np.maximum(steps - 20, 0)
    return [rows_of([float(v) for v in trend + draws.normal(0, 0.01, epochs)]) for _ in range(jobs)]


def advice(*found: History, max_regret: float = 0.01) -> EarlyStoppingAdvice:
    return advise(found, LOSS, max_regret=max_regret)


@given(histories, st.builds(Patience, patience=st.integers(2, 8), min_delta=st.sampled_from([0.0, 0.1]), **common))
def test_each_patience_has_the_outcome_of_its_replay(rows: list[Epoch], rule: Patience) -> None:
    _, recorded, stop = run(rows, rule)

    found = {each.patience: each for each in advice(history(recorded, rule)).patiences}

    for patience in range(1, rule.patience):
        smaller = rule.model_copy(update={"patience": patience})
        (replayed,) = replay(spec(), stop, recorded, [smaller])
        if replayed.relative_regret is None:
            assert patience not in found
            continue
        assert found[patience].relative_regret.mean == pytest.approx(replayed.relative_regret)
        assert found[patience].epochs_saved.mean == pytest.approx(replayed.epochs_saved / len(recorded))
        assert found[patience].missed == (replayed.relative_regret > 0)
    assert all(patience < rule.patience for patience in found)


def test_a_job_without_early_stopping_tells_about_every_patience() -> None:
    found = advice(history(noisy_curves(1)[0]))

    assert [each.patience for each in found.patiences] == list(range(1, 51))
    saved = [each.epochs_saved.mean for each in found.patiences]
    assert saved == sorted(saved, reverse=True)
    assert (found.jobs, found.histories, found.stopped_early) == (1, 1, 0)


def test_the_smallest_patience_with_a_small_regret_is_recommended_with_its_uncertainty() -> None:
    found = advice(*(history(rows, unit=f"job_{n}") for n, rows in enumerate(noisy_curves(40))))

    assert found.recommended is not None
    chosen, before = found.patiences[found.recommended - 1], found.patiences[found.recommended - 2]
    assert chosen.relative_regret.high is not None
    assert before.relative_regret.high is not None
    assert chosen.relative_regret.high <= 0.01 < before.relative_regret.high
    assert chosen.relative_regret.low is not None
    assert chosen.relative_regret.low <= chosen.relative_regret.mean <= chosen.relative_regret.high
    assert 0.3 < chosen.epochs_saved.mean < 0.9
    assert found.sentences[0].startswith(f"Patience {found.recommended} would have saved ")
    assert "in the mean over 40 independent histories" in found.sentences[0]


def test_jobs_that_differ_only_in_seed_and_fold_are_one_history() -> None:
    curves = noisy_curves(2 * MIN_HISTORIES)

    found = advice(*(history(rows, unit=f"point {n // 4}") for n, rows in enumerate(curves)))

    assert (found.jobs, found.histories, found.recommended) == (2 * MIN_HISTORIES, MIN_HISTORIES // 2, None)
    assert found.patiences[0].jobs == 2 * MIN_HISTORIES
    assert found.sentences[0].startswith(f"Too few histories: {MIN_HISTORIES // 2} independent ones")


def test_a_single_history_has_no_interval() -> None:
    (first, *_) = advice(history(noisy_curves(1)[0])).patiences

    assert (first.epochs_saved.low, first.relative_regret.high) == (None, None)


def test_jobs_that_early_stopping_has_ended_are_reported_as_such() -> None:
    rule = Patience(patience=6)
    stopped = [run(rows, rule)[1] for rows in noisy_curves(30)]

    found = advice(*(history(rows, rule, unit=f"job_{n}") for n, rows in enumerate(stopped)))

    assert [each.patience for each in found.patiences] == [1, 2, 3, 4, 5]
    assert found.stopped_early == 30
    assert "Early stopping has ended 30 of the 30 jobs, with a patience of 6 in the median" in found.sentences[1]


def test_if_no_patience_is_good_enough_the_largest_that_was_looked_at_is_named() -> None:
    falling = rows_of([1.0, *(0.9 + 0.001 * n for n in range(60)), 0.1])

    found = advice(*(history(falling, unit=f"job_{n}") for n in range(MIN_HISTORIES)))

    assert found.recommended is None
    assert found.sentences[0].startswith("No patience up to 50, the largest that enough histories tell about")


def test_without_histories_and_without_values_the_advice_says_that_they_are_too_few() -> None:
    nothing = rows_of([float("nan")] * 3)

    for found in (advice(), advice(history(nothing))):
        assert (found.jobs, found.patiences, found.recommended) == (0, [], None)
        assert found.sentences == [
            "Too few histories: 0 independent ones tell about early stopping on val_loss, and a recommendation needs"
            " 20."
        ]
