"""Losses of a spec: which task each is for, and what they need of the target."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from service.spec.job import Task, version_needed
from service.spec.loss import CrossEntropy, Loss, SquaredError
from tests.spec.tables import column, refused, resolved, table
from tests.specs import synthetic

losses: TypeAdapter[Any] = TypeAdapter(Loss)
CLASSIFICATION, REGRESSION = ["cross_entropy", "focal"], ["squared", "absolute", "huber", "quantile", "poisson"]


@pytest.mark.parametrize("wrong", [{"kind": "huber", "q": 0.5}, {"kind": "quantile", "q": 1.0}, {"gamma": 2.0}])
def test_a_field_of_another_loss_or_out_of_its_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        losses.validate_python(wrong)


def test_the_default_loss_becomes_that_of_the_task_with_its_options() -> None:
    asked = {"label_smoothing": 0.1, "class_weight": "balanced"}

    assert resolved(loss=asked).spec.loss == CrossEntropy(label_smoothing=0.1, class_weight="balanced")
    assert resolved(target="length").spec.loss == SquaredError()


@pytest.mark.parametrize("kind", REGRESSION)
def test_a_loss_of_regression_is_not_for_classes(kind: str) -> None:
    pointer, message = refused(task="classification", loss={"kind": kind})

    assert pointer == "/loss/kind"
    assert f"{kind} is not a loss for classification" in message


@pytest.mark.parametrize("kind", CLASSIFICATION)
def test_a_loss_of_classification_is_not_for_numbers(kind: str) -> None:
    pointer, message = refused(target="length", task="regression", loss={"kind": kind})

    assert pointer == "/loss/kind"
    assert f"{kind} is not a loss for regression" in message


def test_a_loss_of_one_task_decides_the_task() -> None:
    few = table(column("x"), column("y", "integer", distinct=5))

    assert resolved(few, "y").spec.task is Task.classification
    assert resolved(few, "y", loss={"kind": "poisson"}).spec.task is Task.regression
    assert refused(target="species", loss={"kind": "huber"})[0] == "/loss/kind"


def test_poisson_refuses_targets_below_zero() -> None:
    data = {"kind": "inline", "x": [[i] for i in range(30)], "y": [i / 7 - 1 for i in range(30)]}
    counts = {**data, "y": [i // 3 for i in range(30)]}

    with pytest.raises(Exception, match="poisson needs targets of 0 or more, but the smallest value of column 'y' is"):
        synthetic(data=data, loss={"kind": "poisson"})
    assert synthetic(data=counts, loss={"kind": "poisson"}).target.link == "log"


def test_the_poisson_deviance_is_monitored_with_the_poisson_loss_only() -> None:
    stopping = {"early_stopping": {"monitor": "val_poisson_deviance"}}
    counts = {"kind": "inline", "x": [[i] for i in range(30)], "y": [i // 3 for i in range(30)]}

    assert synthetic(data=counts, loss={"kind": "poisson"}, **stopping).monitor == "val_poisson_deviance"
    assert refused(target="length", **stopping)[0] == "/early_stopping/monitor"


def test_only_jobs_with_the_same_kind_of_loss_train_as_one_array_whatever_its_number() -> None:
    data = {"kind": "inline", "x": [[i] for i in range(30)], "y": [i / 7 for i in range(30)]}
    asked: list[dict[str, Any]] = [{"kind": "quantile", "q": 0.1}, {"kind": "quantile", "q": 0.9}, {"kind": "huber"}]

    low, high, other = (synthetic(data=data, loss=each).array_key for each in asked)

    assert low == high != other


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({}, 1),
        ({"loss": {"kind": "cross_entropy"}}, 1),
        ({"loss": {"kind": "focal"}}, 2),
        ({"early_stopping": {"monitor": "val_balanced_accuracy"}}, 2),
        ({"schedule": {"kind": "cosine"}}, 1),
        ({"schedule": {"kind": "coslog4"}}, 2),
        ({"schedule": {"kind": "one_cycle"}}, 2),
        ({"schedule": {"kind": "cosine", "warmup_steps": 3}}, 2),
        ({"schedule": {"kind": "constant", "warmup_share": 0.1}}, 2),
    ],
)
def test_workers_of_the_last_release_leave_what_they_do_not_know(fields: dict[str, Any], version: int) -> None:
    assert version_needed(synthetic(**fields).spec) == version
