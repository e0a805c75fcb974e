"""Jobs trained as one array are bit-identical to the same jobs alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from service.data.preprocess.dataset import Rows, prepare
from service.domain.status import StopReason
from service.spec.resolve import Resolved
from service.training.loop import EpochReport, Training
from tests.examples import sampled
from tests.specs import synthetic
from tests.training.arrays import arrays, assert_same, outcomes
from tests.training.jobs import CPU, train


@pytest.mark.slow
@sampled(10, 40)
@given(arrays())
def test_every_member_is_bit_identical_to_the_job_alone(jobs: list[Resolved]) -> None:
    assert len({job.array_key for job in jobs}) == 1

    together = outcomes(jobs)

    for job, outcome in zip(jobs, together, strict=True):
        assert_same(outcome, outcomes([job])[0])


@pytest.mark.parametrize("width", [1, 5, 16, 33])
def test_neither_the_size_of_the_array_nor_the_position_in_it_matters(width: int) -> None:
    jobs = [synthetic(seed=seed, max_epochs=3, architecture={"hidden": [20], "dropout": 0.2}) for seed in range(width)]

    forwards, backwards = outcomes(jobs), outcomes(jobs[::-1])

    for one, other in zip(forwards, backwards[::-1], strict=True):
        assert_same(one, other)
    assert_same(forwards[0], outcomes(jobs[:1])[0])


@pytest.mark.parametrize("validation", [1_024, 1_025, 1_027])
def test_a_few_rows_at_the_end_of_an_evaluation_are_scored_as_alone(validation: int) -> None:
    data = {"kind": "synthetic", "rows": validation + 64, "features": 5}
    split = {"validation": validation / (validation + 64)}
    jobs = [synthetic(data=data, seed=seed, split=split, max_epochs=2) for seed in range(16)]

    together = outcomes(jobs)

    assert jobs[0].rows.validation == validation
    assert_same(together[3], outcomes([jobs[3]])[0])


@pytest.mark.parametrize("batch_size", [3, 13])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_image_members_are_bit_identical_whatever_their_memory_alignment(batch_size: int, precision: str) -> None:
    data = {"kind": "synthetic", "rows": 100, "features": 49}
    convolution = {"kind": "conv2d", "out_channels": 3, "kernel_size": 1}
    layers = [convolution, {"kind": "batch_norm"}, {"kind": "activation"}, {**convolution, "kernel_size": 3}]
    network = {"kind": "layers", "shape": [1, 7, 7], "layers": layers}
    fields: dict[str, Any] = {"data": data, "batch_size": batch_size, "architecture": network, "precision": precision}
    jobs = [synthetic(seed=seed, max_epochs=2, **fields) for seed in range(3)]

    together = outcomes(jobs)

    for job, outcome in zip(jobs, together, strict=True):
        assert_same(outcome, outcomes([job])[0])


def test_a_dropped_member_leaves_at_once_and_the_others_stay_bit_identical() -> None:
    jobs = [synthetic(seed=seed, max_epochs=6, early_stopping=None) for seed in range(3)]
    training = Training(jobs, prepare(jobs[0].preparation, None), CPU)
    seen: list[list[int]] = []
    last: dict[int, EpochReport] = {}

    for reports in training:
        seen.append([report.member for report in reports])
        last |= {report.member: report for report in reports}
        states = {report.member: training.last_state(report.member) for report in reports}
        if len(seen) == 2:
            training.drop({1})

    assert seen == [[0, 1, 2]] * 2 + [[0, 2]] * 4
    assert last[2].stop is StopReason.max_epochs
    with pytest.raises(KeyError):
        training.last_state(1)
    alone = outcomes(jobs[2:])[0]
    assert all(torch.equal(alone[2][key], states[2][key]) for key in alone[2])


def test_rows_of_weight_zero_count_as_absent_and_sample_weights_keep_members_bit_identical() -> None:
    data = {"kind": "synthetic", "rows": 50, "features": 3}
    fields: dict[str, Any] = {"batch_size": "full", "architecture": {"hidden": [8], "batch_norm": False}}
    jobs = [synthetic(data=data, seed=seed, max_epochs=5, split={"shuffle": False}, **fields) for seed in range(3)]
    weight = np.where(np.arange(40) < 20, 2.0, 0.0).astype(np.float32)

    together = outcomes(jobs, weight)

    rows = prepare(jobs[0].preparation, None)
    first = replace(rows, train=Rows(rows.train.padded[:20], rows.train.inputs, rows.train.y[:20]))
    for job, outcome in zip(jobs, together, strict=True):
        assert_same(outcome, outcomes([job], weight)[0])
        *_, (without,) = train([replace(job, rows=replace(job.rows, train=20))], first, CPU)
        for key, values in without.last_state.items():
            torch.testing.assert_close(outcome[2][key], values, atol=1e-5, rtol=1e-5)


def test_a_diverging_member_does_not_affect_the_others() -> None:
    jobs = [
        synthetic(
            task="regression",
            architecture={"hidden": []},
            optimizer={"kind": "sgd", "lr": lr},
            early_stopping=None,
            max_epochs=60,
        )
        for lr in (1e-3, 10.0, 1e-2)
    ]

    together = outcomes(jobs)

    assert any(row["non_finite"] for row in together[1][0])
    for member in (0, 2):
        assert_same(together[member], outcomes([jobs[member]])[0])
