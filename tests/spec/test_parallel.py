"""Specs of jobs on several devices."""

from __future__ import annotations

from typing import Any

import pytest

from service.engine_constants import PROCESS_BYTES
from service.errors import InvalidSpec
from service.spec.job import JobSpec, version_needed
from service.spec.limits import memory_of
from tests.specs import synthetic

DATA = {"kind": "synthetic", "rows": 100, "features": 3}


def test_a_job_on_several_devices_needs_version_4_and_trains_alone() -> None:
    one, two = synthetic(data=DATA), synthetic(data=DATA, parallel={"devices": 2})

    assert version_needed(one.spec) == 1
    assert version_needed(two.spec) == 4
    assert two.array_limit == 1
    assert one.shape_key != two.shape_key


def test_batch_norm_and_the_number_of_devices_are_part_of_the_key() -> None:
    asked: list[dict[str, Any]] = [{"devices": 2}, {"devices": 3}, {"devices": 2, "batch_norm": "synchronized"}]

    assert len({synthetic(data=DATA, parallel=parallel).shape_key for parallel in asked}) == 3


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"batch_size": 7}, "/batch_size"),
        ({"data": {"kind": "synthetic", "rows": 9, "features": 3}}, "/parallel/devices"),
    ],
)
def test_every_device_needs_two_rows_of_a_batch(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        synthetic(**{"data": DATA, **fields}, parallel={"devices": 4})

    assert refused.value.field_errors[0].pointer == where


@pytest.mark.parametrize(("rows", "steps"), [(80, 5), (87, 5), (88, 6)])
def test_a_last_batch_that_is_too_small_for_the_devices_joins_the_one_before(rows: int, steps: int) -> None:
    data = {"kind": "synthetic", "rows": rows, "features": 3}

    job = synthetic(data=data, parallel={"devices": 4}, batch_size=16, split={"validation": 0.0}, early_stopping=None)

    assert job.steps_per_epoch == steps


def test_the_memory_of_a_job_counts_every_device() -> None:
    one, three = synthetic(data=DATA), synthetic(data=DATA, parallel={"devices": 3})

    assert sum(memory_of(three).values()) > sum(memory_of(one).values()) + 2 * PROCESS_BYTES


@pytest.mark.parametrize(
    ("parallel", "warned"),
    [
        ({"devices": 2}, False),
        ({"devices": 8}, True),
        ({"devices": 8, "batch_norm": "synchronized"}, False),
    ],
)
def test_few_rows_of_local_batch_norm_are_warned_of(parallel: dict[str, Any], warned: bool) -> None:
    job = synthetic(data={**DATA, "rows": 1_000}, parallel=parallel)

    assert ("few_rows_of_batch_norm" in [warning.code for warning in job.warnings]) == warned


def test_one_device_is_no_parallel_job() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        JobSpec.model_validate({"data": DATA, "parallel": {"devices": 1}})
