"""The plan of a job spec: resolved spec, inputs, layers, rows and memory, shown before anything is queued."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from pydantic import ConfigDict

from service.engine_constants import BLOCK_ROWS, MAX_ARRAY_PARAMETERS, MAX_ARRAY_VALUES
from service.spec.documented import Documented
from service.spec.early_stopping import Monitor
from service.spec.graph import Node
from service.spec.job import JobSpec, Task
from service.spec.layers import Pool
from service.spec.limits import array_memory_of, memory_estimate, memory_of
from service.spec.resolved import Resolved, SpecWarning
from service.spec.streaming import ROWS_STREAMED
from service.spec.table import ColumnType, TableProfile, Value
from service.spec.task import task_reason


class _Described(Documented):
    model_config = ConfigDict(frozen=True)


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
    type: ColumnType
    """What its values are."""
    width: int
    """Number of inputs."""
    categories: list[Value] | None
    """One-hot encoded values of a text column; null for other types and encodings."""
    other: bool
    """Whether one more input stands for all other values."""
    missing_indicator: bool
    """Whether one more input, or code, marks missing values."""
    embedding_size: int | None
    """Size of the embedding of a column that has a code instead of inputs; null for others."""
    bins: int
    """Inputs of the piecewise-linear encoding of a number or date."""
    value_inputs: int
    """Inputs of a text column encoded by `preprocess.high_cardinality`: its frequency, or its mean target."""


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


class PlannedRowAccess(_Described):
    """Where training reads its rows, and why."""

    mode: Literal["memory", "disk"]
    """`memory`, or `disk`: streamed in windows of blocks of rows (`data.streaming`)."""
    reason: str
    """Why, in a sentence."""
    window_rows: int | None
    """Rows of a window, which are shuffled together; null in memory."""
    block_rows: int | None
    """Consecutive rows of the table that stay in one window; null in memory."""
    disk_bytes: int
    """Free space that it needs on a worker's disk; 0 in memory."""


class PlannedArray(_Described):
    """How similar jobs train together, as one array: seeds, and folds or other splits of the table."""

    jobs: int
    """Such jobs in one array, at most; a worker's BESTEPOCH_ARRAY_WIDTH may allow fewer."""
    row_sets: int
    """Splits of the table in one array, at most; jobs with the same split share their rows."""
    row_set_bytes: int
    """Estimated memory of the rows of one split."""
    arrays: int
    """Arrays for one job per fold; 1 without folds."""
    limited_by: Literal["row_memory", "parameters", "step_values"] | None
    """Why the folds need several arrays; null for one array."""
    reason: str | None
    """The same in a sentence."""
    memory_bytes: int
    """Estimated memory of the largest of these arrays."""


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
    row_access: PlannedRowAccess
    """Where training reads its rows."""
    memory_bytes: int
    """Estimated memory of training this job alone."""
    array: PlannedArray
    """How it trains together with similar jobs."""
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
        task_reason=task_reason(spec, column),
        monitor=resolved.monitor,
        inputs=[
            PlannedInput(
                column=feature.column,
                type=feature.type,
                width=feature.width,
                categories=list(feature.categories) if feature.categories and not feature.value_inputs else None,
                other=feature.other,
                missing_indicator=feature.indicator,
                embedding_size=feature.embedding_size,
                bins=feature.bins,
                value_inputs=feature.value_inputs,
            )
            for feature in resolved.features
        ],
        classes=None if resolved.target.classes is None else list(resolved.target.classes),
        layers=[_layer(index, node) for index, node in enumerate(resolved.graph.nodes)],
        parameters=resolved.parameters,
        rows=PlannedRows(**asdict(resolved.rows)),
        row_access=_row_access(resolved),
        memory_bytes=memory_estimate(resolved),
        array=_array(resolved),
        steps_per_epoch=resolved.steps_per_epoch,
        warnings=list(resolved.warnings),
    )


def _row_access(job: Resolved) -> PlannedRowAccess:
    if job.window_rows is None:
        reason = f"the rows take about {memory_of(job)['/data'] / 2**20:,.0f} MiB of memory"
        return PlannedRowAccess(mode="memory", reason=reason, window_rows=None, block_rows=None, disk_bytes=0)
    (reason,) = (warning.message for warning in job.warnings if warning.code == ROWS_STREAMED)
    return PlannedRowAccess(
        mode="disk",
        reason=reason,
        window_rows=job.window_rows,
        block_rows=BLOCK_ROWS,
        disk_bytes=job.row_set_bytes,
    )


def _array(job: Resolved) -> PlannedArray:
    folds, limited_by, reason = job.spec.split.folds or 1, None, None
    together = min(folds, job.array_limit, job.row_sets)
    arrays = -(-folds // together)
    if arrays > 1:
        limited_by, why = _limit(job)
        reason = f"{folds} folds train as {arrays} arrays of {together} at most: {why}"
    return PlannedArray(
        jobs=job.array_limit,
        row_sets=job.row_sets,
        row_set_bytes=job.row_set_bytes,
        arrays=arrays,
        limited_by=limited_by,
        reason=reason,
        memory_bytes=array_memory_of(job, together, together),
    )


def _limit(job: Resolved) -> tuple[Literal["row_memory", "parameters", "step_values"], str]:
    """What limits an array of folds, and in words."""
    if job.row_sets <= job.array_limit:
        each, most = (f"{number / 2**20:,.0f} MiB" for number in (job.row_set_bytes, job.max_row_bytes))
        return "row_memory", f"the rows of a fold take {each}, and those of an array at most {most}"
    if MAX_ARRAY_PARAMETERS // job.parameters <= MAX_ARRAY_VALUES // job.step_values:
        return "parameters", f"an array has at most {MAX_ARRAY_PARAMETERS:,} parameters, and one has {job.parameters:,}"
    return "step_values", (
        f"a step of an array has at most {MAX_ARRAY_VALUES:,} activation values, and one job's {job.step_values:,}"
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
