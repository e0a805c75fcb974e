"""Limits of a service on each job, and estimates of the memory and the files of a job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from service.engine_constants import (
    AVERAGE_BYTES,
    CELL_BYTES,
    FILE_BYTES,
    INPUT_BYTES,
    MAX_ARRAY_ROW_BYTES,
    PARAMETER_BYTES,
    PROCESS_BYTES,
    STEP_BYTES,
    STREAM_BYTES,
    STREAM_ROW_BYTES,
    TEXT_BYTES,
    VALUE_BYTES,
)
from service.errors import InvalidSpec
from service.spec.data import texts_with_numbers
from service.spec.optimizer import Sgd

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.spec.resolved import Resolved


MIN_BATCH_ROWS = 8
"""Where not even so many rows fit in memory, the network is too large, not the batch."""


@dataclass(frozen=True)
class JobLimits:
    """Limits on one job, set by the operator."""

    parameters: int
    epochs: int
    seconds: float | None  # of training; None: no limit
    memory_bytes: int

    def bounded(self, spec: JobSpec) -> JobSpec:
        """`spec` with the limit on seconds as its default; raises InvalidSpec if it exceeds a limit."""
        if spec.max_epochs > self.epochs:
            raise InvalidSpec.at("/max_epochs", f"this server allows {self.epochs:,} epochs, not {spec.max_epochs:,}")
        if self.seconds is None:
            return spec
        if spec.max_seconds is None:
            return spec.model_copy(update={"max_seconds": self.seconds})
        if spec.max_seconds > self.seconds:
            said = f"this server allows {self.seconds:,.0f} seconds, not {spec.max_seconds:,.0f}"
            raise InvalidSpec.at("/max_seconds", said)
        return spec

    def check(self, job: Resolved) -> None:
        """Raise InvalidSpec if the network, or the memory to train it, exceeds a limit."""
        if job.parameters > self.parameters:
            said = f"the network has {job.parameters:,} parameters; this server allows {self.parameters:,}"
            raise InvalidSpec.at("/architecture", said)
        parts, total = memory_of(job), memory_estimate(job)
        if total > self.memory_bytes:
            most = max(parts, key=parts.__getitem__)
            said = f"training would take about {_gib(total)}, of which this is {_gib(parts[most])}"
            if most == "/batch_size" and parts[most] * MIN_BATCH_ROWS > self.memory_bytes * job.batch_rows:
                most, said = "/architecture", f"{said}, in batches of {job.batch_rows:,} rows"
            raise InvalidSpec.at(most, f"{said}; this server has {_gib(self.memory_bytes)} for a job")

    def with_row_bytes(self, job: Resolved) -> Resolved:
        """The job with what its memory leaves for the rows of other members, which may have splits of their own."""
        left = self.memory_bytes - memory_estimate(job)
        own = job.window_bytes or job.row_set_bytes
        return replace(job, max_row_bytes=min(MAX_ARRAY_ROW_BYTES, own + max(left, 0)))


def memory_estimate(job: Resolved) -> int:
    """Estimated memory of training this job alone in bytes, with the process itself."""
    return PROCESS_BYTES + sum(memory_of(job).values())


def memory_of(job: Resolved) -> dict[str, int]:
    """Estimated memory of training in bytes, without the process itself, by the part of the spec that causes it."""
    rows = job.rows.train + job.rows.validation + job.rows.test
    network = (PARAMETER_BYTES + (AVERAGE_BYTES if job.spec.averaging else 0)) * job.parameters
    if job.window_bytes:
        own_rows = STREAM_BYTES + job.window_bytes + STREAM_ROW_BYTES * rows
    else:
        own_rows = CELL_BYTES * rows * job.row_values
    parts = {
        "/architecture": network,
        "/batch_size": STEP_BYTES * job.step_values,
        "/data": own_rows + PREDICTION_COPIES * prediction_bytes_of(job),
    }
    if job.spec.devices > 1:  # all on one machine; each has the network and the rows
        parts["/parallel/devices"] = (job.spec.devices - 1) * (PROCESS_BYTES + network + own_rows)
    return parts


def array_memory_of(job: Resolved, members: int, row_sets: int) -> int:
    """Estimated memory in bytes of an array of so many such jobs on so many row sets, and of the process."""
    parts = memory_of(job)
    further = (members - 1) * job.window_bytes if job.window_bytes else (row_sets - 1) * job.row_set_bytes
    rows = parts.pop("/data") + further
    return PROCESS_BYTES + members * sum(parts.values()) + rows


MAX_PREDICTIONS = 50_000_000
"""Values of predictions (rows x classes) up to which those of a job are kept: some 200 MB."""
PREDICTED_ROW_BYTES = 24
"""Per row of kept predictions: its number, truth and prediction."""
PREDICTION_COPIES = 5
"""How often predictions are in memory while their file is made: outputs, table, arrays, file, temporaries."""


def file_bytes_of(job: Resolved) -> int:
    """Estimated size of all files of a job in bytes: checkpoints and predictions."""
    return checkpoint_bytes_of(job) + prediction_bytes_of(job)


def prediction_count(job: Resolved) -> int:
    """The values that predictions of the validation and test rows have: rows x classes, or rows."""
    return (job.rows.validation + job.rows.test) * max(len(job.target.classes or ()), 1)


def prediction_bytes_of(job: Resolved) -> int:
    """Estimated size in bytes of the predictions that a job keeps of its validation and test rows."""
    rows, classes = job.rows.validation + job.rows.test, len(job.target.classes or ())
    if not rows or prediction_count(job) > MAX_PREDICTIONS:
        return 0
    return FILE_BYTES + rows * (PREDICTED_ROW_BYTES + VALUE_BYTES * classes)


def checkpoint_bytes_of(job: Resolved) -> int:
    """Estimated size of a job's checkpoint files in bytes: best, last, and the state to resume from.

    A state has the weights, the best weights, the optimizer's moments and averaged weights, if any; best and last have
    the spec too.
    """
    moments = 1 if isinstance(job.spec.optimizer, Sgd) else 2
    averages = 1 if job.spec.averaging else 0
    values = job.parameters * (1 + 1 + (2 + moments + averages))
    texts = sum(
        min(job.rows.train, texts_with_numbers(feature.value_inputs)) * (1 + feature.value_inputs)
        for feature in job.features
        if feature.value_inputs
    )
    fitted = INPUT_BYTES * job.row_values + TEXT_BYTES * texts
    return VALUE_BYTES * values + 2 * (len(job.spec.model_dump_json()) + fitted) + 3 * FILE_BYTES


def _gib(number: int) -> str:
    return f"{number / 2**30:,.1f} GiB"
