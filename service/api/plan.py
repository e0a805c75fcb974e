"""What a job spec would train, in full, for a person to read before anything is queued."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel, ConfigDict

from service.engine_constants import PROCESS_BYTES
from service.spec.early_stopping import Monitor
from service.spec.job import JobSpec, Task
from service.spec.layers import Layer, Pool
from service.spec.limits import memory_of
from service.spec.resolve import MAX_AUTO_CLASSES
from service.spec.resolved import Resolved, SpecWarning
from service.spec.table import Column, ColumnType, TableProfile, Value


class _Described(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class PlannedLayer(_Described):
    """One layer of the network."""

    index: int
    """Its place; the checkpoint's keys are `layers.{index}.weight` and so on."""
    kind: str
    """What it is, as in `architecture.layers`; `unflatten` gives rows their `shape`."""
    input: int
    """Values that go in, a row."""
    input_shape: list[int]
    """Their shape: [features], [channels, length] or [channels, height, width]."""
    output: int
    """Values that come out, a row."""
    output_shape: list[int]
    """Their shape."""
    parameters: int
    """Trained values."""
    details: dict[str, int | float | str]
    """What else there is to say: an activation's function, a dropout's probability."""


class PlannedInput(_Described):
    """How one column goes into the network."""

    column: str
    """The column's name."""
    width: int
    """How many inputs it gives."""
    categories: list[Value] | None
    """A 0/1 input for each of these texts; null for anything but text."""
    other: bool
    """Whether one more input stands for all other texts."""
    missing_indicator: bool
    """Whether one more input says that the value is missing."""


class PlannedRows(_Described):
    """How many rows each part gets."""

    train: int
    """Rows that move the weights."""
    validation: int
    """Rows that choose the best epoch."""
    test: int
    """Rows that are scored once, at the end."""
    dropped: int
    """Rows without a target, which are left out."""
    exact: bool
    """False where the parts are estimates, for only the rows themselves say who stands where."""


class Plan(_Described):
    """What would be trained."""

    spec: JobSpec
    """The spec with every default written out."""
    task: Task
    """What kind of target is learnt."""
    task_reason: str
    """Why it is this task."""
    monitor: Monitor
    """The number that decides which epoch is best."""
    inputs: list[PlannedInput]
    """The columns to learn from."""
    classes: list[Value] | None
    """The classes to tell apart, in the order of the network's outputs; null for regression."""
    layers: list[PlannedLayer]
    """The network."""
    parameters: int
    """Trained values of the network."""
    rows: PlannedRows
    """How many rows each part gets."""
    memory_bytes: int
    """Memory that training takes, about."""
    steps_per_epoch: int
    """Optimizer steps an epoch takes."""
    warnings: list[SpecWarning]
    """What a person would want to know before training."""


def plan_of(spec: JobSpec, table: TableProfile, resolved: Resolved) -> Plan:
    """The plan of `spec`, which `table` has resolved to `resolved`."""
    column = table.column(resolved.target.column)
    assert column is not None
    return Plan(
        spec=resolved.spec,
        task=resolved.spec.task,
        task_reason=_why(spec.task, column),
        monitor=resolved.monitor,
        inputs=[
            PlannedInput(
                column=feature.column,
                width=feature.width,
                categories=None if feature.categories is None else list(feature.categories),
                other=feature.other,
                missing_indicator=feature.indicator,
            )
            for feature in resolved.features
        ],
        classes=None if resolved.target.classes is None else list(resolved.target.classes),
        layers=[_layer(index, layer) for index, layer in enumerate(resolved.layers)],
        parameters=resolved.parameters,
        rows=PlannedRows(**asdict(resolved.rows)),
        memory_bytes=PROCESS_BYTES + sum(memory_of(resolved).values()),
        steps_per_epoch=resolved.steps_per_epoch,
        warnings=list(resolved.warnings),
    )


def _layer(index: int, layer: Layer) -> PlannedLayer:
    details = {name: value for name, value in asdict(layer).items() if name not in ("shape", "to", "units")}
    if isinstance(layer, Pool):
        del details["function"]  # its kind says it
    return PlannedLayer(
        index=index,
        kind=layer.kind,
        input=layer.inputs,
        input_shape=list(layer.shape),
        output=layer.outputs,
        output_shape=list(layer.output_shape),
        parameters=layer.parameters,
        details=details,
    )


def _why(asked: Task, column: Column) -> str:
    if asked is not Task.auto:
        return "the spec asks for it"
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
