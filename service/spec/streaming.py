"""Whether training streams rows from disk: decided at submission, by the memory that they would take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from service.engine_constants import BLOCK_ROWS, VALUE_BYTES, WINDOW_BYTES, padded
from service.errors import InvalidSpec
from service.spec.data import MIN_WINDOW_ROWS, DatasetData, Streaming
from service.spec.limits import memory_estimate, memory_of
from service.spec.resolved import SpecWarning

if TYPE_CHECKING:
    from service.spec.limits import JobLimits
    from service.spec.resolved import Resolved
    from service.spec.table import TableProfile

POINTER = "/data/streaming"
ROWS_STREAMED = "rows_streamed"
"""The code of the warning that says so."""
ROW_NUMBER = "file_row_number"
"""What DuckDB calls the number of a row in its file; it cannot number rows that have such a column."""


def with_streaming(job: Resolved, table: TableProfile, limits: JobLimits | None) -> Resolved:
    """The job with `data.streaming` decided: `off`, or the rows of a window.

    Raises InvalidSpec if it asks for streaming and needs all rows in memory.
    """
    data = job.spec.data
    if not isinstance(data, DatasetData) or data.streaming == "off":
        return job
    obstacle = _why_not(job, table)
    if isinstance(data.streaming, Streaming):
        if obstacle is not None:
            raise InvalidSpec.at(POINTER, obstacle)
        return _streamed(job, data, "the spec asks for it")
    in_memory = _with(job, data, "off")
    if limits is None or obstacle is not None or memory_estimate(in_memory) <= limits.memory_bytes:
        return in_memory
    rows, memory = memory_of(in_memory)["/data"] / 2**30, limits.memory_bytes / 2**30
    why = f"in memory they would take about {rows:,.1f} GiB, and this server has {memory:,.1f} GiB for a job"
    return _streamed(job, data, why)


def _why_not(job: Resolved, table: TableProfile) -> str | None:
    """Why the job needs all rows in memory; None if it can stream them."""
    if job.spec.batch_size == "full":
        return "batch_size `full` takes all training rows at once, which cannot be streamed"
    if job.spec.parallel is not None:
        return "training on several devices reads its rows from memory"
    if any(feature.value_inputs for feature in job.features):
        kind = job.spec.preprocess.high_cardinality
        return f"preprocess.high_cardinality `{kind}` is computed from all training rows at once, in memory"
    if table.column(ROW_NUMBER) is not None:
        return f"a table with a column {ROW_NUMBER!r} cannot be streamed"
    return None


def _streamed(job: Resolved, data: DatasetData, why: str) -> Resolved:
    asked = data.streaming.window_rows if isinstance(data.streaming, Streaming) else None
    row_bytes = (padded(job.graph.layout.numbers) + 2 * len(job.graph.layout.categories)) * VALUE_BYTES
    rows = max(MIN_WINDOW_ROWS, asked or WINDOW_BYTES // row_bytes) // BLOCK_ROWS * BLOCK_ROWS
    found = _with(job, data, Streaming(window_rows=rows))
    message = (
        f"rows are streamed from disk, because {why}: each epoch shuffles blocks of {BLOCK_ROWS} rows, and then the"
        f" rows of windows of {rows:,}; a worker needs {_size(found.row_set_bytes)} of free disk"
    )
    return replace(found, warnings=(*found.warnings, SpecWarning(code=ROWS_STREAMED, message=message, pointer=POINTER)))


def _size(number: int) -> str:
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{max(1, number // 2**20):,} MiB"


def _with(job: Resolved, data: DatasetData, streaming: Streaming | str) -> Resolved:
    decided = data.model_copy(update={"streaming": streaming})
    return replace(job, spec=job.spec.model_copy(update={"data": decided}))
