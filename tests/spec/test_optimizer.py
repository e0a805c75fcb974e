"""Optimizers and schedules: told apart by kind, each with its own fields only."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from service.spec.optimizer import Adam, AdamW, Optimizer, Sgd
from service.spec.schedule import Constant, Cosine, CosLog4, OneCycle, Plateau, Schedule, Step

optimizers: TypeAdapter[Any] = TypeAdapter(Optimizer)
schedules: TypeAdapter[Any] = TypeAdapter(Schedule)


def test_an_optimizer_without_a_kind_is_adam() -> None:
    assert optimizers.validate_python({"lr": 0.01}) == Adam(lr=0.01)


@pytest.mark.parametrize(("kind", "model"), [("sgd", Sgd), ("adam", Adam), ("adamw", AdamW)])
def test_an_optimizer_is_told_by_its_kind(kind: str, model: type) -> None:
    assert type(optimizers.validate_python({"kind": kind})) is model


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("constant", Constant),
        ("cosine", Cosine),
        ("step", Step),
        ("plateau", Plateau),
        ("coslog4", CosLog4),
        ("one_cycle", OneCycle),
    ],
)
def test_a_schedule_is_told_by_its_kind(kind: str, model: type) -> None:
    assert type(schedules.validate_python({"kind": kind})) is model


def test_a_field_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="momentum"):
        optimizers.validate_python({"kind": "adam", "momentum": 0.9})
    with pytest.raises(ValidationError, match="gamma"):
        schedules.validate_python({"kind": "cosine", "gamma": 0.9})


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "cosine", "epochs": 0},
        {"kind": "cosine", "min_lr": -0.1},
        {"kind": "step", "step_size": 0},
        {"kind": "step", "gamma": 0.0},
        {"kind": "step", "gamma": 1.1},
        {"kind": "plateau", "factor": 1.0},
        {"kind": "plateau", "patience": -1},
        {"kind": "plateau", "threshold": 1.0},
        {"kind": "one_cycle", "pct_start": 1.1},
        {"kind": "constant", "warmup_steps": 5, "warmup_share": 0.1},
    ],
)
def test_a_schedule_out_of_its_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        schedules.validate_python(wrong)


@pytest.mark.parametrize("wrong", [{"kind": "sgd", "momentum": 1.0}, {"kind": "sgd", "nesterov": 1}])
def test_sgd_out_of_its_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        optimizers.validate_python(wrong)
