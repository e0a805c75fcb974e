"""One job on several devices: the same bits for the same number of devices, and nearly those of one device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.spec.resolve import Resolved
from service.training.loop import ResumePoint
from service.training.ranks import Ranks, in_order
from tests.examples import sampled
from tests.specs import synthetic
from tests.training.jobs import Observed, reports
from tests.training.ranks import on_ranks, train_on

SMALL: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 90, "features": 5, "classes": 3},
    "batch_size": 16,
    "max_epochs": 3,
}


def parallel(devices: int, batch_norm: str = "local", **fields: Any) -> Resolved:
    return synthetic(**{**SMALL, **fields}, parallel={"devices": devices, "batch_norm": batch_norm})


def assert_same(one: Observed, other: Observed) -> None:
    """All but the seconds."""
    assert one.row.model_copy(update={"seconds": 0.0}) == other.row.model_copy(update={"seconds": 0.0})
    for mine, yours in ((one.best_state, other.best_state), (one.last_state, other.last_state)):
        assert mine.keys() == yours.keys()
        assert all(torch.equal(mine[key], yours[key]) for key in mine)
    for key, values in one.snapshot.optimizer.items():
        assert torch.equal(values, other.snapshot.optimizer[key])
    assert one.test == other.test


NETWORKS = st.sampled_from(
    [
        {"kind": "mlp", "hidden": [20], "batch_norm": True},
        {"kind": "mlp", "hidden": [9, 5], "batch_norm": True, "dropout": 0.3},
        {"kind": "mlp", "hidden": [], "batch_norm": False},
        {"kind": "tabm", "hidden": [12], "heads": 3},
        {
            "kind": "layers",
            "shape": [1, 5],
            "layers": [{"kind": "conv1d", "out_channels": 3, "kernel_size": 2}, {"kind": "batch_norm"}],
        },
    ]
)
OPTIMIZERS = st.sampled_from(
    [
        {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.1},
        {"kind": "adam"},
        {"kind": "adamw", "weight_decay": 0.1, "max_grad_norm": 0.5},
        {"kind": "adam", "rates": {"linear.bias": 0.1}},
    ]
)


@st.composite
def jobs(draw: st.DrawFn) -> Resolved:
    return parallel(
        draw(st.integers(2, 4)),
        draw(st.sampled_from(["local", "synchronized"])),
        architecture=draw(NETWORKS),
        optimizer=draw(OPTIMIZERS),
        loss=draw(st.sampled_from([{"kind": "cross_entropy"}, {"kind": "cross_entropy", "class_weight": "balanced"}])),
        averaging=draw(st.sampled_from([None, {"kind": "ema", "decay": 0.5}, {"kind": "swa", "start": 2}])),
        batch_size=draw(st.sampled_from([8, 16, 23, "full"])),
        schedule=draw(st.sampled_from([{"kind": "constant"}, {"kind": "plateau", "patience": 0}, {"kind": "coslog4"}])),
        split={"validation": draw(st.sampled_from([0.0, 0.3])), "test": 0.1},
        early_stopping=None,
    )


@pytest.mark.slow
@sampled(6, 25)
@given(jobs(), st.integers(1, 2))
def test_a_resumed_job_has_the_bits_of_an_uninterrupted_one(job: Resolved, epoch: int) -> None:
    whole = train_on(job.spec.devices, job)

    resumed = train_on(
        job.spec.devices, job, ResumePoint(whole[epoch - 1].snapshot, [each.row for each in whole[:epoch]])
    )

    assert len(whole) == epoch + len(resumed) == 3
    for one, other in zip(whole[epoch:], resumed, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("devices", [2, 3])
def test_without_batch_norm_and_dropout_it_learns_what_one_device_does(devices: int) -> None:
    fields: dict[str, Any] = {
        "architecture": {"kind": "mlp", "hidden": [20], "batch_norm": False},
        "optimizer": {"kind": "sgd"},
    }

    alone, together = list(reports(**SMALL, **fields)), train_on(devices, parallel(devices, **fields))

    for one, other in zip(alone, together, strict=True):
        assert one.row.train_loss == pytest.approx(other.row.train_loss, rel=1e-4)
        assert one.row.val_loss == pytest.approx(other.row.val_loss, rel=1e-4)
    for key, values in alone[-1].last_state.items():
        torch.testing.assert_close(values, together[-1].last_state[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "architecture",
    [
        {"kind": "mlp", "hidden": [20], "batch_norm": True},
        {
            "kind": "layers",
            "shape": [1, 5],
            "layers": [{"kind": "conv1d", "out_channels": 3, "kernel_size": 2}, {"kind": "batch_norm"}],
        },
    ],
)
def test_synchronized_batch_norm_takes_the_statistics_of_the_whole_batch(architecture: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"architecture": architecture, "optimizer": {"kind": "sgd"}}

    alone, together = list(reports(**SMALL, **fields)), train_on(2, parallel(2, "synchronized", **fields))

    for key, values in alone[-1].last_state.items():
        torch.testing.assert_close(values, together[-1].last_state[key], rtol=1e-3, atol=1e-4)


def test_local_batch_norm_differs_from_that_of_the_whole_batch() -> None:
    fields: dict[str, Any] = {"architecture": {"kind": "mlp", "hidden": [20], "batch_norm": True}}

    local, synchronized = (train_on(2, parallel(2, kind, **fields)) for kind in ("local", "synchronized"))

    assert local[-1].row.train_loss != synchronized[-1].row.train_loss


def test_sums_are_taken_in_the_order_of_ranks() -> None:
    values = [1e8, 1.0, -1e8]  # in float32, another order gives another sum

    (first, *others) = on_ranks(3, lambda ranks: ranks.sum(torch.tensor([values[ranks.rank]])).item())

    assert first == (torch.tensor(1e8) + 1.0 + -1e8).item()
    assert others == [first, first]


@pytest.mark.parametrize("columns", [32, 96, 1_024])
def test_each_part_of_the_parameters_belongs_to_one_rank(columns: int) -> None:
    def work(ranks: Ranks) -> list[float]:
        parts = ranks.parts(columns)
        own = parts[ranks.rank]
        values = torch.full((columns,), float(ranks.rank))
        received = torch.empty(ranks.size, own.stop - own.start)
        ranks.own_part_of_all(values, parts, received)
        values[own] = in_order(list(received), torch.empty(own.stop - own.start)) + ranks.rank
        ranks.share_parts(values, parts)
        return values.tolist()

    found = on_ranks(4, work)

    assert found == [found[0]] * 4
    assert {value - 6.0 for value in found[0]} <= {0.0, 1.0, 2.0, 3.0}
