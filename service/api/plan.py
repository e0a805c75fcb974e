"""The plan of a job spec: resolved spec, inputs, layers, rows and memory, shown before anything is queued."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel, ConfigDict

from service.engine_constants import PROCESS_BYTES
from service.spec.early_stopping import Monitor
from service.spec.graph import Node
from service.spec.job import JobSpec, Task
from service.spec.layers import Pool
from service.spec.limits import memory_of
from service.spec.resolve import MAX_AUTO_CLASSES
from service.spec.resolved import Resolved, SpecWarning
from service.spec.table import Column, ColumnType, TableProfile, Value


class _Described(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class PlannedLayer(_Described):
    """One layer of the network."""

    index: int
    """Position; the checkpoint's keys are `layers.{index}.weight` and so on."""
    kind: str
    """Kind, as in `architecture.layers`; `unflatten` gives rows their `shape`."""
    name: str | None
    """The name that the spec gives it."""
    inputs: list[str]
    """What it takes: `numbers` or `codes`, which come from the columns, or the output of `layers.{index}`."""
    input: int
    """Input values per row; of the first input where there are several."""
    input_shape: list[int]
    """Input shape: [features], [channels, length] or [channels, height, width]."""
    output: int
    """Output values per row."""
    output_shape: list[int]
    """Output shape."""
    parameters: int
    """Trainable parameters."""
    details: dict[str, int | float | str]
    """Other settings: an activation's function, a dropout's probability."""


class PlannedInput(_Described):
    """The encoding of one column."""

    column: str
    """The column's name."""
    width: int
    """Number of inputs."""
    categories: list[Value] | None
    """One-hot encoded values of a text column; null for other types."""
    other: bool
    """Whether one more input stands for all other values."""
    missing_indicator: bool
    """Whether one more input, or code, marks missing values."""
    embedding_size: int | None
    """Size of the embedding of a column that has a code instead of inputs; null for others."""


class PlannedRows(_Described):
    """Rows of each part of the split."""

    train: int
    """Training rows."""
    validation: int
    """Validation rows, which choose the best epoch."""
    test: int
    """Test rows, evaluated once at the end."""
    dropped: int
    """Rows left out because they have no target."""
    exact: bool
    """False if the counts are estimates, because the parts depend on the rows' values."""


class Plan(_Described):
    """What would be trained."""

    spec: JobSpec
    """The spec with every default written out."""
    task: Task
    """Classification or regression."""
    task_reason: str
    """Why this task was chosen."""
    monitor: Monitor
    """The monitored metric, which decides the best epoch."""
    inputs: list[PlannedInput]
    """The input columns."""
    classes: list[Value] | None
    """The classes, in the order of the network's outputs; null for regression."""
    layers: list[PlannedLayer]
    """The network."""
    parameters: int
    """Trainable parameters of the network."""
    rows: PlannedRows
    """Rows of each part of the split."""
    memory_bytes: int
    """Estimated memory of training."""
    steps_per_epoch: int
    """Optimizer steps per epoch."""
    warnings: list[SpecWarning]
    """Warnings about the spec and the data."""


def plan_of(spec: JobSpec, table: TableProfile, resolved: Resolved) -> Plan:
    """The plan of `spec`; `resolved`: what it resolves to for `table`."""
    column = table.column(resolved.target.column)
    assert column is not None
    return Plan(
        spec=resolved.spec,
        task=resolved.spec.task,
        task_reason=_task_reason(spec.task, column),
        monitor=resolved.monitor,
        inputs=[
            PlannedInput(
                column=feature.column,
                width=feature.width,
                categories=None if feature.categories is None else list(feature.categories),
                other=feature.other,
                missing_indicator=feature.indicator,
                embedding_size=feature.embedding_size,
            )
            for feature in resolved.features
        ],
        classes=None if resolved.target.classes is None else list(resolved.target.classes),
        layers=[_layer(index, node) for index, node in enumerate(resolved.graph.nodes)],
        parameters=resolved.parameters,
        rows=PlannedRows(**asdict(resolved.rows)),
        memory_bytes=PROCESS_BYTES + sum(memory_of(resolved).values()),
        steps_per_epoch=resolved.steps_per_epoch,
        warnings=list(resolved.warnings),
    )


def _layer(index: int, node: Node) -> PlannedLayer:
    layer = node.layer
    given = asdict(layer).items()
    details = {name: value for name, value in given if name != "units" and not isinstance(value, tuple)}
    if isinstance(layer, Pool):
        del details["function"]  # the same as its kind
    return PlannedLayer(
        index=index,
        kind=layer.kind,
        name=node.label,
        inputs=list(node.inputs),
        input=layer.inputs,
        input_shape=list(layer.shape),
        output=layer.outputs,
        output_shape=list(layer.output_shape),
        parameters=layer.parameters,
        details=details,
    )


def _task_reason(asked: Task, column: Column) -> str:
    if asked is not Task.auto:
        return "set in the spec"
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
