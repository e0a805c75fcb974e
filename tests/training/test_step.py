"""A replayed CUDA graph equals the eager step; a step that cannot be captured runs eagerly.

The capture itself needs a CUDA device. What is around it is tested with a capture that works over again.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from service.training import step as step_module
from service.training.epoch import ArrayTrainer
from service.training.losses import BatchLoss
from service.training.step import WARM_UP_STEPS, Batch, CapturedStep, GraphReplay, Work, copy_of
from tests.training.jobs import CPU, job


def capture_by_doing_it_again(work: Work, batch: Batch) -> CapturedStep:
    """Like a CUDA graph: runs nothing now, then works on the same memory each time, whatever its caller holds."""
    own = copy_of(batch)
    loss = BatchLoss(torch.empty(own.y.shape), own.y.shape[1], torch.empty(0))

    def replay() -> None:
        loss.rows.copy_(work(own).rows)

    return CapturedStep(own, loss, replay)


def adding(seen: list[Tensor]) -> Work:
    """Work that notes its batches."""

    def work(batch: Batch) -> BatchLoss:
        seen.append(batch.x.clone())
        return BatchLoss(batch.y * 2.0, batch.y.shape[1], batch.y)

    return work


def test_after_the_warm_up_batches_of_the_captured_size_are_replayed() -> None:
    seen: list[Tensor] = []
    replay, work = GraphReplay(capture_by_doing_it_again), adding(seen)
    batches = [Batch(torch.full((1, 4, 2), float(n)), torch.full((1, 4), float(n))) for n in range(WARM_UP_STEPS + 5)]
    odd = Batch(torch.ones(1, 3, 2), torch.ones(1, 3))

    results = [replay(work, batch).rows.clone() for batch in batches[:-1]]
    results += [replay(work, odd).rows, replay(work, batches[-1]).rows]

    assert [x.shape[1] for x in seen] == [4] * (WARM_UP_STEPS + 4) + [3, 4]
    for x, rows, batch in zip(seen, results, [*batches[:-1], odd, batches[-1]], strict=True):
        assert torch.equal(x, batch[0])
        assert torch.equal(rows, batch[1] * 2)


def test_a_step_that_cannot_be_captured_is_tried_once_and_runs_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Tensor] = []
    tries = []

    def refuse(work: Work, batch: Batch) -> CapturedStep:
        tries.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    replay, work = GraphReplay(refuse), adding(seen)
    for _ in range(WARM_UP_STEPS + 5):
        replay(work, Batch(torch.ones(1, 4, 2), torch.ones(1, 4)))

    assert (len(seen), len(tries)) == (WARM_UP_STEPS + 5, 1)
    assert "cannot be captured" in caplog.text


def test_a_smaller_batch_when_the_capture_is_due_does_not_take_its_place() -> None:
    seen: list[Tensor] = []
    replay, work = GraphReplay(capture_by_doing_it_again), adding(seen)
    full, tail = Batch(torch.ones(1, 4, 2), torch.ones(1, 4)), Batch(torch.ones(1, 3, 2), torch.ones(1, 3))
    for batch in [*[full] * WARM_UP_STEPS, tail, full]:
        replay(work, batch)

    assert replay._captured is not None
    assert replay._captured.batch.x.shape == full.x.shape


def test_an_array_trainer_is_freed_without_garbage_collection() -> None:
    resolved, data = job(batch_size=8)
    group = ArrayTrainer([resolved], [data], CPU, [None])
    group.epoch([1], [[0.01]])
    array = weakref.ref(group.array)
    gc.disable()
    try:
        del group
        assert array() is None
    finally:
        gc.enable()


def trained(device: torch.device, **fields: Any) -> dict[str, Tensor]:
    resolved, data = job(batch_size=8, **fields)
    group = ArrayTrainer([resolved], [data], device, [None])
    for epoch in (1, 2, 3):
        group.epoch([epoch], [[0.01 / epoch]])
    return group.array.state(0)


KINDS: list[dict[str, Any]] = [
    {"optimizer": {"kind": "adam"}},
    {"optimizer": {"kind": "adamw", "weight_decay": 0.1, "max_grad_norm": 0.5}},
    {"optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True}, "loss": {"class_weight": "balanced"}},
    {"architecture": {"kind": "cnn", "shape": [1, 3], "channels": [4], "pool": 1}},
]


@pytest.mark.parametrize("fields", KINDS)
def test_a_step_uses_tensors_at_fixed_addresses(fields: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trained(CPU, **fields)

    init: Callable[..., None] = step_module.TrainingStep.__init__

    def captured(self: step_module.TrainingStep, *arguments: Any) -> None:
        init(self, *arguments)
        self._replay = GraphReplay(capture_by_doing_it_again)

    monkeypatch.setattr(step_module.TrainingStep, "__init__", captured)
    replayed = trained(CPU, **fields)

    assert all(torch.equal(plain[key], replayed[key]) for key in plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fields", KINDS)
def test_on_a_gpu_a_replayed_step_is_bit_identical_to_an_eager_one(
    fields: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = torch.device("cuda")
    captured = trained(device, **fields)
    monkeypatch.setattr(step_module, "WARM_UP_STEPS", 10**9)

    plain = trained(device, **fields)

    assert "cannot be captured" not in caplog.text
    assert all(torch.equal(plain[key], captured[key]) for key in plain)
