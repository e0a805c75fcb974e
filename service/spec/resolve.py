"""Resolves a spec against a table's profile: defaults, inputs, classes, layers, row counts, warnings.

Categories, classes and missing-value indicators come from the stored profile, so every width is known without reading a
row; means, standard deviations, quantiles and imputed values are fitted later, on training rows only.
"""

from __future__ import annotations

from dataclasses import replace

from service.engine_constants import MAX_STEP_VALUES
from service.errors import InvalidSpec
from service.spec import data_warnings, loss, training_warnings
from service.spec.averaging import Swa
from service.spec.data import DatasetData, InlineData, SyntheticData
from service.spec.early_stopping import CLASSIFICATION, REGRESSION, Monitor
from service.spec.input_layout import layout_of
from service.spec.inputs import Inputs, choose_inputs
from service.spec.job import JobSpec, Task
from service.spec.layers import BatchNorm
from service.spec.limits import MIN_BATCH_ROWS, JobLimits
from service.spec.lowering import lower
from service.spec.parallel import ROWS_OF_RANK
from service.spec.rate_factors import check_rates
from service.spec.request_profiles import inline_profile, synthetic_profile
from service.spec.resolved import Feature, Resolved, RowCounts, SpecWarning, Target, link_of
from service.spec.row_counts import count_rows
from service.spec.split import split_sizes
from service.spec.streaming import with_streaming
from service.spec.table import TableProfile
from service.spec.task import check_loss, target_of, task_of, task_reason

__all__ = [
    "Feature",
    "Inputs",
    "Resolved",
    "RowCounts",
    "SpecWarning",
    "Target",
    "choose_inputs",
    "profile_of",
    "resolve",
    "split_sizes",
]


def profile_of(data: SyntheticData | InlineData) -> TableProfile:
    """The profile of data that is in the spec itself: synthetic or inline."""
    return synthetic_profile(data) if isinstance(data, SyntheticData) else inline_profile(data)


def resolve(
    spec: JobSpec, table: TableProfile, limits: JobLimits | None = None, inputs: Inputs | None = None
) -> Resolved:
    """Validate `spec` against its table, and fill in every default.

    `limits`: of the service. `inputs`: the result of `choose_inputs` for this spec and table, for callers that resolve
    many similar specs. Raises InvalidSpec with a pointer to each error.
    """
    if limits is not None:
        spec = limits.bounded(spec)
    inputs = inputs or choose_inputs(spec, table)
    task = task_of(spec, inputs.target)
    check_loss(spec, task, inputs.target)
    target = target_of(inputs.target, task, link_of(spec))
    rows, row_warnings = count_rows(spec, table, inputs.target)
    warnings = [*inputs.warnings, *row_warnings, *data_warnings.of_rows(table, spec.split)]
    if target.classes is not None:
        warnings += data_warnings.of_classes(inputs.target)
    if task is Task.classification and spec.preprocess.clip_target:
        why = f"the task is {task.value}: {task_reason(spec, inputs.target)}"
        raise InvalidSpec.at("/preprocess/clip_target", f"predictions can be clipped in regression only; {why}")
    spec = _fill(spec, task, [feature.column for feature in inputs.features])
    _check_monitor(spec, task, rows)
    graph = lower(spec.architecture, layout_of(inputs.features), len(target.classes or ()) or 1)
    nulls = tuple(table.null_values)
    resolved = Resolved(spec, inputs.features, target, graph, rows, nulls, (), table.date_format)
    _check_network(resolved)
    _check_ranks(resolved)
    resolved = with_streaming(resolved, table, limits)
    if limits is not None:
        limits.check(resolved)
        resolved = limits.with_row_bytes(resolved)
    return replace(resolved, warnings=(*warnings, *resolved.warnings, *training_warnings.of_training(resolved)))


def _fill(spec: JobSpec, task: Task, features: list[str]) -> JobSpec:
    """Fill in the defaults that depend on the data."""
    split = spec.split.filled(classes=task is Task.classification)
    if split.stratify and not split.shuffle:
        raise InvalidSpec.at("/split/stratify", "a split in row order cannot be stratified; set shuffle to true")
    if split.stratify and task is Task.regression:
        raise InvalidSpec.at("/split/stratify", "only classes can be stratified; this target is a number")
    data = spec.data.model_copy(update={"features": features}) if isinstance(spec.data, DatasetData) else spec.data
    spec = spec.model_copy(update={"task": task, "split": split, "data": data})
    return spec.model_copy(update={"loss": spec.known_loss})


def _check_monitor(spec: JobSpec, task: Task, rows: RowCounts) -> None:
    if spec.early_stopping is None:
        return
    monitor = spec.early_stopping.monitor
    if monitor is not Monitor.train_loss and rows.validation == 0:
        raise InvalidSpec.at("/early_stopping/monitor", f"{monitor.value} needs validation rows; split.validation is 0")
    if monitor in (REGRESSION if task is Task.classification else CLASSIFICATION):
        raise InvalidSpec.at("/early_stopping/monitor", f"{monitor.value} is not defined for {task.value}")
    if monitor is Monitor.val_poisson_deviance and not isinstance(spec.loss, loss.Poisson):
        raise InvalidSpec.at("/early_stopping/monitor", "val_poisson_deviance needs the loss `poisson`")
    if monitor is Monitor.val_r2 and rows.validation < 2:
        raise InvalidSpec.at("/early_stopping/monitor", "val_r2 is not defined on a single validation row")


def _check_network(resolved: Resolved) -> None:
    if resolved.step_values > MAX_STEP_VALUES:
        fitting = MAX_STEP_VALUES // resolved.graph.values_held
        too_wide = fitting < MIN_BATCH_ROWS
        instead = "a smaller network, or fewer inputs" if too_wide else f"batches of at most {fitting:,} rows"
        message = (
            f"a step of {resolved.batch_rows:,} rows would hold {resolved.step_values * 4 / 2**30:,.0f} GiB between the"
            f" layers; at most {MAX_STEP_VALUES * 4 / 2**30:.0f} GiB are allowed: take {instead}"
        )
        raise InvalidSpec.at("/architecture" if too_wide else "/batch_size", message)
    flat_norms = [x for x in resolved.layers if isinstance(x, BatchNorm) and x.outputs == x.shape[0]]
    if flat_norms and resolved.batch_rows < 2:
        raise InvalidSpec.at("/batch_size", "batch normalization needs at least 2 rows in a batch")
    optimizer = resolved.spec.optimizer
    check_rates(resolved.graph, optimizer.rates)
    averaging, max_epochs = resolved.spec.averaging, resolved.spec.max_epochs
    if isinstance(averaging, Swa) and averaging.first_epoch(max_epochs) > max_epochs:
        raise InvalidSpec.at("/averaging/start", f"training ends before, at epoch {max_epochs}")
    if optimizer.kind == "sgd" and optimizer.nesterov and optimizer.momentum == 0:
        raise InvalidSpec.at("/optimizer/nesterov", "nesterov needs a momentum above 0")


def _check_ranks(resolved: Resolved) -> None:
    """Each device needs rows of every batch."""
    devices, rows, least = resolved.spec.devices, resolved.batch_rows, ROWS_OF_RANK * resolved.spec.devices
    if devices > 1 and rows < least:
        where = "/batch_size" if resolved.rows.train >= least else "/parallel/devices"
        raise InvalidSpec.at(
            where, f"a batch has {rows:,} rows, and {devices} devices need {least}: {ROWS_OF_RANK} each"
        )
