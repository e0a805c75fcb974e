"""Patience: any improvement makes a new best epoch, only one beyond min_delta resets patience."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.status import StopReason
from service.spec.early_stopping import Monitor, Patience
from service.stopping.tracker import Decision, Tracker

Values = Sequence[float | None]


def decisions(values: Values, rule: Patience | None, monitor: Monitor = Monitor.val_loss) -> list[Decision]:
    """The decision of every epoch, continuing past stops."""
    tracker, made = Tracker(monitor, rule), []
    for epoch, value in enumerate(values, start=1):
        tracker, decision = tracker.update(epoch, value, None)
        made.append(decision)
    return made


def stop_epoch(values: Values, rule: Patience, monitor: Monitor = Monitor.val_loss) -> int | None:
    return next((epoch for epoch, made in enumerate(decisions(values, rule, monitor), 1) if made.stop), None)


def naive(values: Values, rule: Patience, larger: bool) -> list[tuple[bool, bool, int, bool]]:
    """(improved, is_best, wait, stop) of each epoch, each worked out anew from the whole list of values."""
    finite = [-inf if v is None or not isfinite(v) else (v if larger else -v) for v in values]
    rows = []
    for epoch in range(1, len(values) + 1):
        seen = finite[:epoch]
        restarts: list[int] = []
        for e, score in enumerate(seen, start=1):
            base = seen[restarts[-1] - 1] if restarts else -inf
            delta = rule.min_delta * (abs(base) if rule.min_delta_mode == "relative" else 1.0)
            if score > -inf and (not restarts or score - base > delta):
                restarts.append(e)
        wait = epoch - (restarts[-1] if restarts else 0)
        now = seen[-1]
        reached = rule.target is not None and now > -inf and now >= (rule.target if larger else -rule.target)
        stop = epoch >= rule.min_epochs and (reached or wait >= rule.patience)
        rows.append((epoch in restarts, now > max(seen[:-1], default=-inf), wait, stop))
    return rows


rules = st.builds(
    Patience,
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.1, 0.5]),
    min_delta_mode=st.sampled_from(["absolute", "relative"]),
    min_epochs=st.integers(0, 8),
    target=st.none() | st.sampled_from([0.2, 0.9]),
)
histories = st.lists(
    st.sampled_from([None, nan, inf, -inf]) | st.floats(-1.0, 1.0).map(lambda v: round(v, 2)), min_size=1, max_size=15
)


@given(histories, rules, st.sampled_from([Monitor.val_loss, Monitor.val_r2]))
def test_decisions_equal_those_of_a_naive_implementation(values: Values, rule: Patience, monitor: Monitor) -> None:
    made = decisions(values, rule, monitor)

    rows = [(d.improved, d.is_best, d.wait, d.stop is not None) for d in made]
    assert rows == naive(values, rule, monitor.larger_is_better)


@given(histories, rules)
def test_the_first_of_equal_best_values_is_best(values: Values, rule: Patience) -> None:
    tracker = Tracker(Monitor.val_loss, rule)
    for epoch, value in enumerate(values, start=1):
        tracker, _ = tracker.update(epoch, value, None)

    finite = [v for v in values if v is not None and isfinite(v)]
    assert tracker.best_value == min(finite, default=None)
    assert tracker.best_epoch == (values.index(min(finite)) + 1 if finite else 0)


def test_patience_runs_out_after_that_many_epochs_without_improvement() -> None:
    assert stop_epoch([1.0, 0.5, 0.6, 0.6, 0.6, 0.6], Patience(patience=3)) == 5


def test_an_improvement_within_min_delta_is_best_but_does_not_reset_patience() -> None:
    last = decisions([1.0, 0.95], Patience(min_delta=0.1))[-1]

    assert (last.is_best, last.improved, last.wait) == (True, False, 1)


def test_accumulated_slow_progress_resets_patience() -> None:
    made = decisions([1.0, 0.96, 0.92, 0.88], Patience(min_delta=0.1, patience=9))

    assert [d.wait for d in made] == [0, 1, 2, 0]


def test_a_relative_min_delta_uses_the_magnitude_of_negative_values() -> None:
    rule = Patience(min_delta=0.1, min_delta_mode="relative", monitor=Monitor.val_r2)

    made = decisions([-2.0, -1.9, -1.7], rule, Monitor.val_r2)

    assert [d.improved for d in made] == [True, False, True]


def test_closeness_is_wait_over_patience() -> None:
    assert [d.closeness for d in decisions([0.5, 0.6, 0.6, 0.6], Patience(patience=2))] == [0, 0.5, 1, 1.5]
    assert decisions([0.5, 0.6], None)[-1].closeness is None


def test_min_epochs_delays_stopping_and_nothing_else() -> None:
    made = decisions([0.5, 0.6, 0.6, 0.6, 0.6], Patience(patience=2, min_epochs=5))

    assert [d.wait for d in made] == [0, 1, 2, 3, 4]
    assert [d.stop for d in made] == [None, None, None, None, StopReason.early_stopped]


def test_patience_that_ran_out_before_min_epochs_is_not_latched() -> None:
    assert stop_epoch([0.5, 0.6, 0.6, 0.4, 0.5], Patience(patience=2, min_epochs=4)) is None


def test_a_target_reached_before_min_epochs_does_not_stop_later_on() -> None:
    rule = Patience(target=0.3, min_epochs=3)

    assert stop_epoch([0.2, 0.4, 0.4, 0.4], rule) is None
    assert decisions([0.4, 0.4, 0.3], rule)[-1].stop is StopReason.target_reached


def test_a_larger_accuracy_is_better_and_reaches_its_target_from_below() -> None:
    rule = Patience(target=0.9, monitor=Monitor.val_accuracy)

    made = decisions([0.5, 0.8, 0.9], rule, Monitor.val_accuracy)

    assert [d.is_best for d in made] == [True, True, True]
    assert [d.stop for d in made] == [None, None, StopReason.target_reached]


@pytest.mark.parametrize("bad", [nan, inf, -inf, None])
def test_a_non_finite_first_epoch_is_no_best(bad: float | None) -> None:
    made = decisions([bad, 5.0], Patience())

    assert [(d.is_best, d.wait) for d in made] == [(False, 1), (True, 0)]


def test_non_finite_epochs_count_towards_patience() -> None:
    assert stop_epoch([1.0, nan, nan, nan], Patience(patience=2)) == 3
    assert stop_epoch([nan, nan], Patience(patience=2)) == 2


def test_without_a_rule_best_is_tracked_and_nothing_stops() -> None:
    made = decisions([1.0, 0.5] + [0.9] * 50, None)

    assert [d.is_best for d in made[:3]] == [True, True, False]
    assert all(d.stop is None for d in made)
    assert made[-1].wait == 50


def test_equal_values_are_no_improvement() -> None:
    assert [d.is_best for d in decisions([0.5, 0.5], Patience())] == [True, False]


@pytest.mark.parametrize(
    ("values", "rule", "reason"),
    [
        ([0.43121], Patience(), "val_loss 0.4312 is the best so far"),
        ([0.5, 0.6, 0.6], Patience(), "no improvement for 2 of 10 epochs (best 0.5 at epoch 1)"),
        ([0.5, 0.6], None, "no improvement for 1 epoch (best 0.5 at epoch 1)"),
        ([0.5, nan], Patience(), "val_loss is not finite (best 0.5 at epoch 1)"),
        ([nan], Patience(), "val_loss is not finite (no best yet)"),
        ([0.5, 0.6], Patience(patience=1), "patience of 1 ran out (best 0.5 at epoch 1)"),
        ([0.5], Patience(target=0.6), "val_loss 0.5 reached the target 0.6"),
        (
            [0.5, 0.49],
            Patience(min_delta=0.1),
            "val_loss 0.49 is the best so far, but min_delta was not exceeded for 1 of 10 epochs",
        ),
    ],
)
def test_each_decision_has_a_reason(values: Values, rule: Patience | None, reason: str) -> None:
    assert decisions(values, rule)[-1].reason == reason
