"""Learning-rate schedules equal those of torch.optim.lr_scheduler, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from service.spec.schedule import Constant, Cosine, Plateau, Step
from service.training import schedules

EPOCHS = 40


def rates_of_pytorch(kind: Any, lr: float, **settings: Any) -> Iterator[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = kind(optimizer, **settings)
    while True:
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


def rates(settings: Any, lr: float) -> list[float]:
    schedule = schedules.start(settings, lr, max_epochs=EPOCHS, larger_is_better=False)
    return [schedule.lr(epoch) for epoch in range(1, EPOCHS + 1)]


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
        assert schedule.lr(epoch) == optimizer.param_groups[0]["lr"]
        schedule = schedule.update(value)
        expected.step(value)


def test_an_undefined_value_is_no_progress() -> None:
    schedule = schedules.start(Plateau(patience=1, factor=0.5), 0.1, max_epochs=9, larger_is_better=False)

    for value in (1.0, None, None):
        schedule = schedule.update(value)

    assert schedule.lr(4) == 0.05
