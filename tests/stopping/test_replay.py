"""Replaying rules on a recorded history gives what a run with the rule would have given."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.epoch import Epoch
from service.domain.status import StopReason
from service.errors import InvalidSpec
from service.spec.early_stopping import (
    EarlyStopping,
    GeneralizationLoss,
    Monitor,
    Patience,
    ProgressQuotient,
    SuccessiveRises,
)
from service.spec.job import JobSpec
from service.stopping.replay import Replayed, replay
from service.stopping.tracker import Tracker
from tests.store.records import epoch

MAX_EPOCHS = 16


def spec(**fields: Any) -> JobSpec:
    return JobSpec.model_validate({"data": {"kind": "synthetic"}, "max_epochs": MAX_EPOCHS, **fields})


def rows_of(values: list[float], train_losses: list[float] | None = None, **metrics: list[float]) -> list[Epoch]:
    """A history with these losses, with NaN as training records it."""
    return [
        epoch(
            number,
            val_loss=value if isfinite(value) else None,
            train_loss=train_losses[number - 1] if train_losses else 0.5,
            metrics={name: column[number - 1] for name, column in metrics.items()},
            non_finite=not isfinite(value),
        )
        for number, value in enumerate(values, start=1)
    ]


def replayed(values: list[float], rule: EarlyStopping, ended: StopReason | None = None, **fields: Any) -> Replayed:
    return replay(spec(**fields), ended, rows_of(values), [rule])[0]


def run(rows: list[Epoch], rule: EarlyStopping) -> tuple[Tracker, list[Epoch], StopReason | None]:
    """(state, rows, why) at the end of a job with this rule, which would measure `rows` if it were let to."""
    tracker = Tracker(rule.monitor, rule)
    for row in rows:
        tracker, decision = tracker.update(row.epoch, row.value(rule.monitor), row.train_loss)
        stop = StopReason.diverged if row.non_finite and rule.on_non_finite != "ignore" else decision.stop
        if stop:
            return tracker, rows[: row.epoch], stop
    return tracker, rows, None


common = {
    "min_epochs": st.integers(0, 9),
    "target": st.none() | st.just(0.55),
    "on_non_finite": st.sampled_from(["stop", "fail", "ignore"]),
}
rules = st.one_of(
    st.builds(Patience, patience=st.integers(1, 5), min_delta=st.sampled_from([0.0, 0.1]), **common),
    st.builds(GeneralizationLoss, alpha=st.sampled_from([2.0, 20.0]), **common),
    st.builds(ProgressQuotient, alpha=st.sampled_from([0.05, 0.5]), k=st.integers(2, 4), **common),
    st.builds(SuccessiveRises, s=st.integers(1, 2), k=st.integers(1, 3), **common),
)
losses = st.floats(0.5, 1.0).map(lambda value: round(value, 2))
histories = st.lists(
    st.tuples(losses | st.just(nan), losses), min_size=MAX_EPOCHS, max_size=MAX_EPOCHS
).map(lambda pairs: rows_of([v for v, _ in pairs], [t for _, t in pairs]))  # fmt: skip


@given(histories, rules)
def test_the_jobs_own_rule_reproduces_its_stop_and_best(rows: list[Epoch], rule: EarlyStopping) -> None:
    tracker, recorded, stop = run(rows, rule)

    (found,) = replay(spec(), stop or StopReason.max_epochs, recorded, [rule])

    assert (found.stop_epoch, found.stop_reason) == ((len(recorded), stop) if stop else (None, None))
    assert (found.best_epoch, found.best_value) == (tracker.best_epoch or None, tracker.best_value)
    assert found.regret in ((None,) if tracker.best_value is None else (0,))
    assert (found.epochs_saved, found.exact) == (0, True)


@given(histories, rules, rules)
def test_an_exact_result_equals_a_run_with_the_rule(
    rows: list[Epoch], own: EarlyStopping, other: EarlyStopping
) -> None:
    _, recorded, ended = run(rows, own)
    tracker, truth, stop = run(rows, other)

    (found,) = replay(spec(), ended or StopReason.max_epochs, recorded, [other])

    assert found.exact == (len(truth) <= len(recorded) and (stop is not None or len(recorded) == MAX_EPOCHS))
    if found.exact:
        assert (found.stop_reason, found.stop_epoch) == (stop, len(truth) if stop else None)
        assert (found.best_epoch, found.best_value) == (tracker.best_epoch or None, tracker.best_value)


@given(histories, st.lists(rules, min_size=1, max_size=4))
def test_rules_replayed_together_give_the_same_as_alone(rows: list[Epoch], several: list[EarlyStopping]) -> None:
    alone = [replay(spec(), None, rows, [rule])[0] for rule in several]

    assert replay(spec(), None, iter(rows), several) == alone
    assert all(found.regret is None or found.regret >= 0 for found in alone)


def test_regret_and_saved_epochs_refer_to_the_whole_history() -> None:
    found = replayed([0.5, 0.6, 0.6, 0.4, 0.7], Patience(patience=2))

    assert (found.stop_epoch, found.best_epoch, found.best_value) == (3, 1, 0.5)
    assert (found.regret, found.relative_regret) == (pytest.approx(0.1), pytest.approx(0.25))
    assert found.epochs_saved == 2


def test_regret_of_a_score_is_the_difference_to_the_highest() -> None:
    rows = rows_of([0.5] * 4, val_accuracy=[0.8, 0.7, 0.6, 0.9])
    rule = Patience(patience=2, monitor=Monitor.val_accuracy)

    (found,) = replay(spec(), None, rows, [rule])

    assert (found.best_value, found.regret) == (0.8, pytest.approx(0.1))


def test_relative_regret_of_a_best_value_of_zero_is_undefined() -> None:
    found = replayed([0.5, 0.6, 0.0], Patience(patience=1))

    assert (found.regret, found.relative_regret) == (0.5, None)


def test_a_non_finite_loss_stops_a_rule_that_does_not_ignore_it() -> None:
    history = [0.5, nan, 0.4]

    assert replayed(history, Patience()).stop_reason is StopReason.diverged
    assert replayed(history, Patience(on_non_finite="fail")).stop_epoch == 2
    assert replayed(history, Patience(on_non_finite="ignore")).best_epoch == 3
    assert replayed([nan], Patience()).best_epoch is None


@pytest.mark.parametrize(
    ("ended", "epochs", "exact"),
    [
        (StopReason.max_epochs, MAX_EPOCHS, True),
        (None, MAX_EPOCHS, True),
        (StopReason.early_stopped, MAX_EPOCHS, True),
        (StopReason.max_time, 9, True),
        (StopReason.early_stopped, 9, False),
        (StopReason.target_reached, 9, False),
        (StopReason.diverged, 9, False),
        (StopReason.cancelled, 9, False),
        (None, 9, False),
    ],
)
def test_a_rule_that_does_not_stop_is_exact_only_if_the_jobs_limits_ended_it(
    ended: StopReason | None, epochs: int, exact: bool
) -> None:
    found = replayed([1 / n for n in range(1, epochs + 1)], Patience(), ended)

    assert (found.stop_epoch, found.stop_reason, found.exact) == (None, None, exact)


@pytest.mark.parametrize(
    ("schedule", "monitor", "exact"),
    [
        ("plateau", Monitor.train_loss, False),
        ("plateau", Monitor.val_loss, True),
        ("cosine", Monitor.train_loss, True),
    ],
)
def test_another_monitor_with_a_plateau_schedule_is_not_exact(schedule: str, monitor: Monitor, exact: bool) -> None:
    found = replayed([0.5] * 4, Patience(patience=1, monitor=monitor), schedule={"kind": schedule})

    assert (found.stop_epoch, found.exact) == (2, exact)


def test_a_monitor_missing_from_the_history_is_an_error() -> None:
    with pytest.raises(InvalidSpec, match="the history has no val_mae") as refused:
        replay(spec(), None, rows_of([nan, 0.5]), [Patience(), Patience(monitor=Monitor.val_mae)])

    assert refused.value.field_errors[0].pointer == "/rules/1/monitor"
