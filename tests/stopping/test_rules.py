"""Prechelt's stopping rules GL, PQ and UP, compared with their formulas."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.status import StopReason
from service.spec.early_stopping import EarlyStopping, GeneralizationLoss, ProgressQuotient, SuccessiveRises
from service.stopping.tracker import Decision, Tracker

Values = Sequence[float | None]

GL, PQ, UP = GeneralizationLoss, ProgressQuotient, SuccessiveRises


def decisions(values: Values, rule: EarlyStopping, train_losses: Values | None = None) -> list[Decision]:
    """The decision of every epoch, continuing past stops."""
    tracker, made = Tracker(rule.monitor, rule), []
    for epoch, (value, train_loss) in enumerate(zip(values, train_losses or values, strict=True), start=1):
        tracker, decision = tracker.update(epoch, value, train_loss)
        made.append(decision)
    return made


def stop_epoch(values: Values, rule: EarlyStopping, train_losses: Values | None = None) -> int | None:
    made = decisions(values, rule, train_losses)
    return next((epoch for epoch, decision in enumerate(made, 1) if decision.stop), None)


def naive(rule: EarlyStopping, values: Values, train_losses: Values, t: int) -> bool:
    """Whether the rule's formula holds after epoch `t`, computed from the whole lists."""
    e = [v if v is not None and isfinite(v) else None for v in values[:t]]
    if isinstance(rule, SuccessiveRises):
        ends = e[rule.k - 1 :: rule.k][-rule.s - 1 :]
        rose = [b is None or (a is not None and b > a) for a, b in pairwise(ends)]
        return t % rule.k == 0 and len(rose) == rule.s and all(rose)
    finite = [v for v in e if v is not None]
    if e[-1] is None or min(finite) <= 0:
        return False
    gl = 100 * (e[-1] / min(finite) - 1)
    if isinstance(rule, GeneralizationLoss):
        return gl > rule.alpha
    assert isinstance(rule, ProgressQuotient)
    strip = [v for v in train_losses[t - rule.k : t] if v is not None and isfinite(v) and v > 0]
    if t % rule.k or len(strip) < rule.k:
        return False
    p = 1000 * (sum(strip) / (rule.k * min(strip)) - 1)
    return gl > rule.alpha * max(p, 0.0)


rules = st.one_of(
    st.builds(GL, alpha=st.sampled_from([1.0, 20.0, 60.0]), min_epochs=st.integers(0, 8)),
    st.builds(PQ, alpha=st.sampled_from([0.02, 0.1, 1.0]), k=st.integers(2, 4), min_epochs=st.integers(0, 8)),
    st.builds(UP, s=st.integers(1, 3), k=st.integers(1, 3), min_epochs=st.integers(0, 8)),
)
losses = st.sampled_from([None, nan, inf, 0.0, -0.1]) | st.floats(0.5, 1.0).map(lambda v: round(v, 2))
histories = st.lists(st.tuples(losses, losses), min_size=1, max_size=16)


@given(histories, rules)
def test_a_rule_stops_where_its_formula_holds_and_not_before_min_epochs(
    history: list[tuple[float | None, float | None]], rule: EarlyStopping
) -> None:
    values, train_losses = zip(*history, strict=True)

    made = decisions(values, rule, train_losses)

    expected = [t >= rule.min_epochs and naive(rule, values, train_losses, t) for t in range(1, len(values) + 1)]
    assert [decision.stop is not None for decision in made] == expected


@given(histories, rules)
def test_the_best_epoch_does_not_depend_on_the_rule(
    history: list[tuple[float | None, float | None]], rule: EarlyStopping
) -> None:
    values, train_losses = zip(*history, strict=True)

    made = decisions(values, rule, train_losses)

    lows = [min((v for v in values[:t] if v is not None and isfinite(v)), default=inf) for t in range(len(values) + 1)]
    assert [decision.is_best for decision in made] == [b < a for a, b in pairwise(lows)]


@given(histories, rules)
def test_closeness_exceeds_one_exactly_when_the_formula_holds(
    history: list[tuple[float | None, float | None]], rule: EarlyStopping
) -> None:
    values, train_losses = zip(*history, strict=True)

    for t, decision in enumerate(decisions(values, rule, train_losses), start=1):
        if decision.closeness is None or (isinstance(rule, SuccessiveRises) and t % rule.k):
            continue
        reached = decision.closeness >= 1
        tie = decision.closeness == pytest.approx(1) and not isinstance(rule, SuccessiveRises)
        assert isfinite(decision.closeness)
        assert tie or reached == naive(rule, values, train_losses, t)


def test_gl_stops_at_the_first_value_more_than_alpha_percent_above_the_best() -> None:
    made = decisions([1.0, 0.5, 0.52, 0.525, 0.53], GL(alpha=5.5))

    assert [d.closeness for d in made] == pytest.approx([0, 0, 4 / 5.5, 5 / 5.5, 6 / 5.5])
    assert [d.stop for d in made] == [None] * 4 + [StopReason.early_stopped]


def test_pq_is_evaluated_only_at_the_end_of_a_strip() -> None:
    made = decisions([0.5, 0.6, 0.9, 0.9, 0.9, 0.9], PQ(k=3, alpha=1.0), [1.0, 0.9, 0.8, 0.8, 0.7, 0.6])

    assert [d.closeness for d in made] == [
        None,
        None,
        pytest.approx(80 / 125),
        None,
        None,
        pytest.approx(80 / (500 / 3)),
    ]
    assert all(d.stop is None for d in made)


def test_pq_tolerates_generalization_loss_while_training_progresses() -> None:
    values = [0.5, 0.55, 0.6, 0.6]

    assert stop_epoch(values, PQ(k=2), [1.0, 0.5, 0.4, 0.3]) is None
    assert stop_epoch(values, PQ(k=2), [1.0, 0.5, 0.4, 0.399]) == 4


def test_pq_without_progress_stops_at_any_generalization_loss() -> None:
    last = decisions([0.5, 0.5001], PQ(k=2), [0.25, 0.25])[-1]

    assert (last.stop, last.closeness) == (StopReason.early_stopped, None)
    assert decisions([0.6, 0.5], PQ(k=2), [0.25, 0.25])[-1].closeness == 0


def test_up_compares_the_ends_of_strips_and_a_fall_resets_the_count() -> None:
    made = decisions([0.5, 0.4, 0.9, 0.5, 0.1, 0.45, 0.1, 0.6, 0.1, 0.7], UP(s=2, k=2))

    assert [d.closeness for d in made] == [0, 0, 0, 0.5, 0.5, 0, 0, 0.5, 0.5, 1]
    assert [d.stop is not None for d in made] == [False] * 9 + [True]


def test_up_counts_a_non_finite_value_as_a_rise() -> None:
    assert [d.closeness for d in decisions([0.5, nan, None, 0.9], UP(s=4, k=1))] == [0, 0.25, 0.5, 0]


def test_a_rule_that_fires_before_min_epochs_is_not_latched() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]

    assert stop_epoch(values, UP(s=1, k=2, min_epochs=5)) == 6
    assert stop_epoch([*values[:5], 0.1], UP(s=1, k=2, min_epochs=5)) is None


@pytest.mark.parametrize("rule", [GL(target=0.3, alpha=1e6), PQ(target=0.3), UP(target=0.3)])
def test_a_target_works_with_every_rule(rule: EarlyStopping) -> None:
    assert decisions([0.5, 0.3], rule)[-1].stop is StopReason.target_reached


@pytest.mark.parametrize(
    ("values", "rule", "reason"),
    [
        ([0.4], GL(), "val_loss 0.4 is the best so far"),
        ([0.5, 0.51], GL(), "no improvement for 1 epoch, GL 2 of 5 (best 0.5 at epoch 1)"),
        ([0.5, 0.6], GL(), "GL 20 exceeds 5 (best 0.5 at epoch 1)"),
        ([0.5, 0.6], GL(min_epochs=9), "no improvement for 1 epoch, GL 20 exceeds 5 (best 0.5 at epoch 1)"),
        ([0.5, nan], GL(), "val_loss is not finite (best 0.5 at epoch 1)"),
        ([0.0], GL(), "val_loss 0 is the best so far, GL is undefined as the best value is not above 0"),
        ([0.6, 0.5], PQ(k=2), "val_loss 0.5 is the best so far"),
        ([0.5, 0.6, 0.6], PQ(k=2), "no improvement for 2 epochs (best 0.5 at epoch 1)"),
        ([0.5, 0.6], PQ(k=2, alpha=1.0), "no improvement for 1 epoch, PQ 0.2 of 1 (best 0.5 at epoch 1)"),
        ([0.5, 0.6], PQ(k=2, alpha=0.1), "PQ 0.2 exceeds 0.1 (best 0.5 at epoch 1)"),
        ([0.5, 0.5], PQ(k=2), "no improvement for 1 epoch, GL 0 and no progress in training (best 0.5 at epoch 1)"),
        (
            [-1.0, 0.5],
            PQ(k=2),
            "no improvement for 1 epoch, PQ is undefined as the best value is not above 0 (best -1 at epoch 1)",
        ),
        (
            [0.5, 0.6],
            UP(k=2),
            "no improvement for 1 epoch, 0 of 3 strips of 2 epochs rose in a row (best 0.5 at epoch 1)",
        ),
        ([0.5, 0.6], UP(s=1, k=1), "1 of 1 strips of 1 epochs rose in a row (best 0.5 at epoch 1)"),
    ],
)  # fmt: skip
def test_each_decision_has_a_reason(values: Values, rule: EarlyStopping, reason: str) -> None:
    assert decisions(values, rule, values)[-1].reason == reason


def test_an_unusable_training_loss_is_given_as_the_reason() -> None:
    reason = decisions([0.5, 0.6], PQ(k=2), [0.5, nan])[-1].reason

    assert "PQ is undefined as not every train_loss of these 2 epochs is above 0" in reason
