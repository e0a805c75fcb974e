"""Layers without an operator of their own: PyTorch's autograd, member by member, keeps the promises of the others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from service.data.preprocess.dataset import prepare
from service.spec.resolve import Resolved
from service.training.loop import ResumePoint
from service.training.operators import FAST
from tests.specs import synthetic
from tests.training.arrays import arrays, assert_same, outcomes
from tests.training.jobs import CPU, train

NETWORK: dict[str, Any] = {
    "kind": "layers",
    "layers": [
        {"kind": "linear", "out_features": 20, "name": "a"},
        {"kind": "layer_norm"},
        {"kind": "dropout", "p": 0.3},
        {"kind": "linear", "out_features": 20, "name": "b"},
        {"kind": "add", "inputs": ["a", "b"]},
    ],
}


@pytest.fixture(autouse=True, scope="module")
def _every_layer() -> Iterator[None]:
    """Every layer is computed by its torch module."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in list(FAST):
            patch.delitem(FAST, kind)
        yield


@pytest.mark.slow
@settings(max_examples=20)
@given(arrays())
def test_every_member_is_bit_identical_to_the_job_alone(jobs: list[Resolved]) -> None:
    together = outcomes(jobs)

    for job, outcome in zip(jobs, together, strict=True):
        assert_same(outcome, outcomes([job])[0])


def test_members_draw_their_own_dropout_and_leave_the_global_generator_alone() -> None:
    jobs = [synthetic(seed=seed, max_epochs=3, architecture=NETWORK) for seed in (0, 1, 0)]
    before = torch.get_rng_state()

    first, other, same = outcomes(jobs)

    assert torch.equal(before, torch.get_rng_state())
    assert_same(first, same)
    assert_same(other, outcomes(jobs[1:2])[0])
    assert first[0] != other[0]


def test_a_job_resumed_after_any_epoch_is_bit_identical_to_an_uninterrupted_one() -> None:
    job = synthetic(max_epochs=5, architecture=NETWORK, early_stopping=None)
    (whole,) = outcomes([job])

    for epochs in range(1, 5):
        seen = [each for (each,) in islice(train([job], prepare(job.preparation, None), CPU), epochs)]
        (rest,) = outcomes([job], starts=[ResumePoint(seen[-1].snapshot, [each.row for each in seen])])

        assert_same((whole[0][epochs:], *whole[1:]), rest)
