"""Learning-rate schedules equal those of torch.optim.lr_scheduler, epoch by epoch and step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from service.spec.schedule import Constant, Cosine, CosLog4, OneCycle, Plateau, Step
from service.training import schedules

EPOCHS, STEPS = 40, 7


def rates_of_pytorch(kind: Any, lr: float, **settings: Any) -> Iterator[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = kind(optimizer, **settings)
    while True:
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


def rates(settings: Any, lr: float) -> list[float]:
    schedule = schedules.start(settings, lr, max_epochs=EPOCHS, larger_is_better=False)
    return [rate_of(schedule, epoch) for epoch in range(1, EPOCHS + 1)]


def rate_of(schedule: schedules.Schedule, epoch: int) -> float:
    """The one rate of all steps of the epoch."""
    (rate,) = schedule.rates(epoch, STEPS)
    return rate


def rates_by_step(settings: Any, lr: float) -> list[float]:
    schedule = schedules.start(settings, lr, max_epochs=EPOCHS, larger_is_better=False)
    each = [schedule.rates(epoch, STEPS) for epoch in range(1, EPOCHS + 1)]
    return [rate for rates in each for rate in (rates if len(rates) == STEPS else list(rates) * STEPS)]


@pytest.mark.parametrize(
    ("settings", "kind", "arguments"),
    [
        (Step(step_size=7, gamma=0.5), lr_scheduler.StepLR, {"step_size": 7, "gamma": 0.5}),
        (Cosine(min_lr=0.001), lr_scheduler.CosineAnnealingLR, {"T_max": EPOCHS, "eta_min": 0.001}),
        (Cosine(epochs=60), lr_scheduler.CosineAnnealingLR, {"T_max": 60}),
    ],
)
def test_a_curve_is_that_of_pytorch(settings: Any, kind: Any, arguments: dict[str, Any]) -> None:
    expected = rates_of_pytorch(kind, 0.1, **arguments)

    assert rates(settings, 0.1) == pytest.approx([next(expected) for _ in range(EPOCHS)], rel=1e-9)


@pytest.mark.parametrize(
    "settings",
    [OneCycle(), OneCycle(pct_start=0.5, div_factor=4.0, final_div_factor=100.0), OneCycle(pct_start=0.0101)],
    ids=str,
)
def test_one_cycle_is_that_of_pytorch(settings: OneCycle) -> None:
    fields = settings.model_dump(include={"pct_start", "div_factor", "final_div_factor"})
    expected = rates_of_pytorch(lr_scheduler.OneCycleLR, 0.1, max_lr=0.1, total_steps=EPOCHS * STEPS, **fields)
    expected_rates = [next(expected) for _ in range(EPOCHS * STEPS)]

    assert rates_by_step(settings, 0.1) == pytest.approx(expected_rates, rel=1e-9)


def test_one_cycle_without_a_rise_starts_at_the_top() -> None:
    assert rates_by_step(OneCycle(pct_start=0.0), 0.1)[0] == 0.1


def test_coslog4_is_four_waves_with_valleys_where_the_formula_has_them() -> None:
    steps = EPOCHS * STEPS

    found = rates_by_step(CosLog4(), 0.1)

    expected = [0.1 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * n / steps))) / 2 for n in range(steps)]
    assert found == pytest.approx(expected, rel=1e-12)
    for valley in (0, 1 / 15, 3 / 15, 7 / 15):
        assert found[round(valley * steps)] < 0.002
    assert max(found) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("settings", [CosLog4(epochs=3), OneCycle(epochs=3)], ids=["coslog4", "one_cycle"])
def test_a_short_curve_stays_at_its_end(settings: Any) -> None:
    found = rates_by_step(settings, 0.1)

    assert max(found[: 3 * STEPS]) == pytest.approx(0.1, rel=0.1)
    assert found[3 * STEPS :] == pytest.approx([0.0] * (37 * STEPS), abs=1e-6)


@pytest.mark.parametrize(
    "settings", [Constant(), Step(step_size=1, gamma=0.5), Plateau(patience=0), CosLog4(), OneCycle()], ids=str
)
@pytest.mark.parametrize("length", [{"warmup_steps": 10}, {"warmup_share": 10 / (EPOCHS * STEPS)}])
def test_warm_up_multiplies_the_first_rates_of_every_schedule(settings: Any, length: dict[str, float]) -> None:
    plain, warmed = (rates_by_step(each, 0.1) for each in (settings, settings.model_copy(update=length)))

    factors = rates_of_pytorch(lr_scheduler.LinearLR, 1.0, start_factor=0.1, total_iters=9)
    assert warmed == pytest.approx([rate * next(factors) for rate in plain], rel=1e-9)


def test_rates_that_do_not_change_within_an_epoch_are_one_rate() -> None:
    schedule = schedules.start(Constant(warmup_steps=STEPS), 0.1, max_epochs=EPOCHS, larger_is_better=False)

    assert len(schedule.rates(1, STEPS)) == STEPS
    assert schedule.rates(2, STEPS) == (0.1,)


def test_a_constant_rate_stays() -> None:
    assert rates(Constant(), 0.003) == [0.003] * EPOCHS


def test_a_short_cosine_stays_at_its_end() -> None:
    assert rates(Cosine(min_lr=0.01, epochs=10), 0.1)[10:] == pytest.approx([0.01] * 30)


@given(
    values=st.lists(st.floats(0.1, 10.0).map(lambda v: round(v, 2)) | st.just(float("nan")), min_size=1, max_size=40),
    patience=st.integers(0, 4),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    larger_is_better=st.booleans(),
)
def test_a_plateau_lowers_the_rate_when_pytorch_does(
    values: list[float], patience: int, threshold: float, larger_is_better: bool
) -> None:
    settings = Plateau(factor=0.5, patience=patience, threshold=threshold, min_lr=0.01)
    schedule = schedules.start(settings, 0.1, max_epochs=EPOCHS, larger_is_better=larger_is_better)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    expected = lr_scheduler.ReduceLROnPlateau(
        optimizer, "max" if larger_is_better else "min", factor=0.5, patience=patience, threshold=threshold, min_lr=0.01
    )

    for epoch, value in enumerate(values, start=1):
        assert rate_of(schedule, epoch) == optimizer.param_groups[0]["lr"]
        schedule = schedule.update(value)
        expected.step(value)


def test_an_undefined_value_is_no_progress() -> None:
    schedule = schedules.start(Plateau(patience=1, factor=0.5), 0.1, max_epochs=9, larger_is_better=False)

    for value in (1.0, None, None):
        schedule = schedule.update(value)

    assert rate_of(schedule, 4) == 0.05
