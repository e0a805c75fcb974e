"""The task of a job, and the classes of its target, by the profile of the target column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import InvalidSpec
from service.spec import loss
from service.spec.job import Task
from service.spec.resolved import Link, Target
from service.spec.table import MAX_VALUES, ColumnType

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.spec.table import Column

MAX_AUTO_CLASSES = 20


def task_of(spec: JobSpec, column: Column) -> Task:
    """The task for this target column; raises InvalidSpec if the spec asks for one that does not fit."""
    task = spec.task
    if task is Task.auto and isinstance(spec.loss, loss.CLASSIFICATION + loss.REGRESSION):
        task = Task.regression if isinstance(spec.loss, loss.REGRESSION) else Task.classification
    if task is Task.auto:
        few = column.type is ColumnType.integer and column.distinct <= MAX_AUTO_CLASSES
        classes = few or column.type in (ColumnType.text, ColumnType.boolean)
        return Task.classification if classes else Task.regression
    if task is Task.regression and column.type in (ColumnType.text, ColumnType.boolean):
        pointer = "/task" if spec.task is task else "/loss/kind"
        raise InvalidSpec.at(pointer, f"regression needs a number; column {column.name!r} is {column.type.value}")
    return task


def task_reason(asked: JobSpec, column: Column) -> str:
    """Why the job has its task, for this target column."""
    if asked.task is not Task.auto:
        return "set in the spec"
    if not isinstance(asked.loss, loss.DefaultLoss):
        return f"the loss {asked.loss.kind} is for this task"
    if column.type is ColumnType.text:
        return f"the target {column.name!r} holds text"
    if column.type is ColumnType.boolean:
        return f"the target {column.name!r} is true or false"
    if column.type is ColumnType.number:
        return f"the target {column.name!r} holds numbers with fractions"
    values = f"the target {column.name!r} has {column.distinct} different whole numbers"
    if column.distinct <= MAX_AUTO_CLASSES:
        return f"{values}, and up to {MAX_AUTO_CLASSES} are taken for classes"
    return f"{values}, and more than {MAX_AUTO_CLASSES} are taken for a quantity"


def check_loss(spec: JobSpec, task: Task, column: Column) -> None:
    """Raise InvalidSpec if the loss does not fit the task or the target."""
    if isinstance(spec.loss, loss.CLASSIFICATION if task is Task.regression else loss.REGRESSION):
        raise InvalidSpec.at("/loss/kind", f"{spec.loss.kind} is not a loss for {task.value}")
    if isinstance(spec.loss, loss.DefaultLoss) and task is Task.regression:
        if spec.loss.label_smoothing:
            raise InvalidSpec.at("/loss/label_smoothing", "labels can be smoothed in classification only")
        if spec.loss.class_weight:
            raise InvalidSpec.at("/loss/class_weight", "classes can be weighted in classification only")
    if isinstance(spec.loss, loss.Poisson) and isinstance(column.min, int | float) and column.min < 0:
        raise InvalidSpec.at("/loss/kind", negative_target(column.name, column.min))


def negative_target(column: str, smallest: float) -> str:
    """Why a target cannot be trained with the Poisson loss."""
    return f"poisson needs targets of 0 or more, but the smallest value of column {column!r} is {smallest:g}"


def target_of(column: Column, task: Task, link: Link) -> Target:
    """The target with its classes; raises InvalidSpec if its values are too many for classes."""
    if task is Task.regression:
        return Target(column.name, None, link)
    if column.values is None:
        what = "numbers with fractions" if column.type is ColumnType.number else f"more than {MAX_VALUES:,} values"
        if column.type is not ColumnType.number and column.distinct <= MAX_VALUES:
            message = f"the values of column {column.name!r} are too long or too many to be listed, as classes must be"
            raise InvalidSpec.at("/data/target", message)
        raise InvalidSpec.at("/data/target", f"column {column.name!r} has {what}, too many for classes")
    return Target(column.name, tuple(v.value for v in column.values))
