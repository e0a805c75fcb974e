"""The task of a job by its target column, and the classes of the target."""

from __future__ import annotations

import pytest

from service.spec.job import Task
from service.spec.resolve import Target
from tests.spec.tables import column, refused, resolved, table


@pytest.mark.parametrize(
    ("kind", "distinct", "task"),
    [
        ("text", 3, Task.classification),
        ("boolean", 2, Task.classification),
        ("integer", 20, Task.classification),
        ("integer", 21, Task.regression),
        ("number", 3, Task.regression),
    ],
)
def test_auto_finds_the_task_by_the_target(kind: str, distinct: int, task: Task) -> None:
    result = resolved(table(column("x"), column("y", kind, distinct=distinct)), "y")

    assert result.spec.task is task
    assert (result.target.classes is not None) == (task is Task.classification)


def test_a_task_that_was_asked_for_is_kept() -> None:
    integers = table(column("x"), column("y", "integer", distinct=5))
    assert resolved(integers, "y", task="regression").target == Target("y", None)
    many = table(column("x"), column("y", "integer", distinct=30))
    assert resolved(many, "y", task="classification").target == Target("y", tuple(range(30)))


@pytest.mark.parametrize("kind", ["text", "boolean"])
def test_regression_needs_a_number(kind: str) -> None:
    pointer, message = refused(table(column("x"), column("y", kind, distinct=2)), "y", task="regression")

    assert pointer == "/task"
    assert f"column 'y' is {kind}" in message


@pytest.mark.parametrize(("kind", "distinct"), [("number", 3), ("integer", 1_001), ("text", 1_001)])
def test_classification_needs_values_that_can_be_listed(kind: str, distinct: int) -> None:
    wide = table(column("x"), column("y", kind, distinct=distinct), rows=2_000)

    assert refused(wide, "y", task="classification")[0] == "/data/target"


def test_classes_come_in_the_order_of_the_profile_and_give_the_last_layer_its_width() -> None:
    result = resolved()

    assert result.target == Target("species", ("v000", "v001", "v002"))
    assert result.layers[-1].outputs == 3


def test_regression_has_one_output() -> None:
    assert resolved(target="length").layers[-1].outputs == 1
