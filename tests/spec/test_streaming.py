"""Whether training streams its rows: decided at submission by memory, said in a warning, and recorded in the spec."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from service.engine_constants import PROCESS_BYTES
from service.errors import InvalidSpec
from service.spec.data import DatasetData, Streaming
from service.spec.job import JobSpec, version_needed
from service.spec.limits import JobLimits, array_memory_of, memory_estimate, memory_of
from service.spec.resolve import Resolved, resolve
from service.spec.table import Column, ColumnType, TableProfile, ValueCount

ROWS = 2_000_000
KINDS = [ValueCount(value="a", count=ROWS // 2), ValueCount(value="b", count=ROWS // 2)]
LARGE = TableProfile(
    rows=ROWS,
    columns=[
        *(Column(name=f"x{i}", type=ColumnType.number, missing=0, distinct=ROWS, min=0.0, max=1.0) for i in range(100)),
        Column(name="name", type=ColumnType.text, missing=0, distinct=30_000, top=KINDS),
        Column(name="y", type=ColumnType.text, missing=0, distinct=2, values=KINDS),
    ],
)
MEMORY = 2**30


def limits(memory: int = MEMORY) -> JobLimits:
    return JobLimits(parameters=10**9, epochs=10**6, seconds=None, memory_bytes=memory)


def asked(streaming: Any = "auto", *, table: TableProfile = LARGE, memory: int = MEMORY, **fields: Any) -> Resolved:
    data = {"kind": "dataset", "id": "ds_1", "target": "y", "streaming": streaming}
    return resolve(JobSpec.model_validate({"data": data, **fields}), table, limits(memory))


def decided(job: Resolved) -> Any:
    assert isinstance(job.spec.data, DatasetData)
    return job.spec.data.streaming


def test_rows_that_fit_into_memory_are_not_streamed() -> None:
    job = asked(memory=2**36)

    assert (decided(job), job.window_rows, job.window_bytes) == ("off", None, 0)
    assert not [warning for warning in job.warnings if warning.code == "rows_streamed"]


def test_rows_that_do_not_fit_into_memory_are_streamed_in_windows_of_128_mib() -> None:
    job = asked()

    row_bytes = job.row_set_bytes // ROWS
    assert decided(job) == Streaming(window_rows=2**27 // row_bytes // 256 * 256)
    assert memory_estimate(job) < MEMORY
    (warning,) = [warning for warning in job.warnings if warning.code == "rows_streamed"]
    assert warning.pointer == "/data/streaming"
    assert warning.message.startswith(
        "rows are streamed from disk, because in memory they would take about 3.1 GiB, and this server has 1.0 GiB"
    )


def test_the_free_disk_of_a_small_table_is_said_in_mebibytes() -> None:
    small = LARGE.model_copy(update={"rows": 20_000})

    (warning,) = [each for each in asked({}, table=small).warnings if each.code == "rows_streamed"]

    assert warning.message.endswith("a worker needs 9 MiB of free disk")


def test_what_was_decided_gives_the_same_job_on_any_server() -> None:
    first = asked()
    again = resolve(first.spec, LARGE, limits(2**40))

    assert again.spec == first.spec
    assert again.preparation.key == first.preparation.key


def test_a_table_that_must_stay_in_memory_is_refused_where_it_does_not_fit() -> None:
    with pytest.raises(InvalidSpec) as refused:
        asked("off")

    assert [fault.pointer for fault in refused.value.field_errors] == ["/data"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"batch_size": "full", "architecture": {"hidden": [1]}}, "batch_size"),
        ({"preprocess": {"high_cardinality": "target"}}, "high_cardinality"),
    ],
)
def test_what_needs_all_rows_at_once_cannot_be_streamed(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        asked({}, memory=2**40, **fields)

    (fault,) = refused.value.field_errors
    assert fault.pointer == "/data/streaming"
    assert named in fault.message
    assert decided(asked(memory=2**40, **fields)) == "off"
    with pytest.raises(InvalidSpec):
        asked(**fields)  # as before: it does not fit


def test_a_table_with_a_column_called_file_row_number_is_not_streamed() -> None:
    column = LARGE.columns[0].model_copy(update={"name": "file_row_number"})
    table = TableProfile(rows=ROWS, columns=[column, *LARGE.columns[1:]])

    with pytest.raises(InvalidSpec, match="file_row_number"):
        asked({}, table=table)


def test_an_array_of_streamed_jobs_has_as_many_members_as_windows_fit_into_its_memory() -> None:
    job = asked(memory=2 * MEMORY)
    most = job.array_limit

    assert 1 < most < 16
    assert array_memory_of(job, most, 1) <= 2 * MEMORY + most * 2**20
    assert job.row_sets == 1
    alone = asked(memory=memory_estimate(job))
    assert alone.array_limit == 1
    assert sum(memory_of(alone).values()) + PROCESS_BYTES == memory_estimate(alone)


def test_streamed_jobs_wait_for_workers_that_know_them_and_train_only_with_each_other() -> None:
    streamed, memory = asked(), asked(memory=2**36)

    assert (version_needed(streamed.spec), version_needed(memory.spec)) == (4, 1)
    assert streamed.shape_key != memory.shape_key
    before = memory.spec.model_copy(update={"data": memory.spec.data.model_copy(update={"streaming": "auto"})})
    assert replace(memory, spec=before).array_key == memory.array_key


@pytest.mark.parametrize("wrong", [{"window_rows": 100}, {"rows": 5}, True, "always", {"window_rows": "many"}])
def test_other_values_are_refused_with_one_reason(wrong: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        asked(wrong)

    (error,) = refused.value.errors()
    assert ("auto" in error["msg"]) is not isinstance(wrong, dict)
