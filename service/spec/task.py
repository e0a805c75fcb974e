"""The task of a job, and the classes of its target, by the profile of the target column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import InvalidSpec
from service.spec.job import Task
from service.spec.resolved import Target
from service.spec.table import MAX_VALUES, ColumnType

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.spec.table import Column

MAX_AUTO_CLASSES = 20


def task_of(spec: JobSpec, column: Column) -> Task:
    """The task for this target column; raises InvalidSpec if the spec asks for one that does not fit."""
    if spec.task is Task.auto:
        few = column.type is ColumnType.integer and column.distinct <= MAX_AUTO_CLASSES
        classes = few or column.type in (ColumnType.text, ColumnType.boolean)
        return Task.classification if classes else Task.regression
    if spec.task is Task.regression and column.type in (ColumnType.text, ColumnType.boolean):
        raise InvalidSpec.at("/task", f"regression needs a number; column {column.name!r} is {column.type.value}")
    return spec.task


def target_of(column: Column, task: Task) -> Target:
    """The target with its classes; raises InvalidSpec if its values are too many for classes."""
    if task is Task.regression:
        return Target(column.name, None)
    if column.values is None:
        what = "numbers with fractions" if column.type is ColumnType.number else f"more than {MAX_VALUES:,} values"
        if column.type is not ColumnType.number and column.distinct <= MAX_VALUES:
            message = f"the values of column {column.name!r} are too long or too many to be listed, as classes must be"
            raise InvalidSpec.at("/data/target", message)
        raise InvalidSpec.at("/data/target", f"column {column.name!r} has {what}, too many for classes")
    return Target(column.name, tuple(v.value for v in column.values))
