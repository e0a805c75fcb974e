"""Averaged weights equal those of torch.optim.swa_utils; evaluation, checkpoints and snapshots have them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import swa_utils

from service.data.preprocess.dataset import prepare
from service.spec.resolve import Resolved
from service.training.epoch import ArrayTrainer
from service.training.generators import row_order
from service.training.loop import ResumePoint, Training
from service.training.models import build, initial_state
from service.training.row_sets import batches
from service.training.snapshot import from_bytes, to_bytes
from tests.specs import synthetic
from tests.training.arrays import assert_same, outcomes
from tests.training.jobs import CPU, job, network_of, observe, reports, train

NETWORKS: list[dict[str, Any]] = [
    {"hidden": [8], "batch_norm": False, "activation": "tanh"},
    {"hidden": [8, 5]},
    {"kind": "cnn", "shape": [1, 3], "channels": [3], "pool": 1, "hidden": [5]},
]
EPOCHS, BATCH, SEED = 6, 9, 3


def train_plainly(
    resolved: Resolved, x: Tensor, y: Tensor, average: swa_utils.AveragedModel, network: nn.Module, start: int
) -> None:
    """Train as anyone would write it; `start`: the first epoch of an average by epoch, 0: by step."""
    frozen = {f"{name}.bias" for name in resolved.graph.frozen_biases}
    trained = [parameter for name, parameter in network.named_parameters() if name not in frozen]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    for epoch in range(1, EPOCHS + 1):
        order = row_order(SEED, epoch, len(x))
        parts = [order[each] for each in batches(len(x), BATCH)]
        for rows in parts:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            if not start:
                average.update_parameters(network)
        if start and epoch >= start:
            average.update_parameters(network)
    if start:
        swa_utils.update_bn([x[rows] for rows in parts], average)


@pytest.mark.parametrize("architecture", NETWORKS, ids=["plain", "batch norm", "cnn"])
@pytest.mark.parametrize(
    "averaging", [{"kind": "ema", "decay": 0.9}, {"kind": "swa", "start": 3}, {"kind": "swa"}], ids=str
)
def test_averaged_weights_are_those_of_pytorch(architecture: dict[str, Any], averaging: dict[str, Any]) -> None:
    resolved, data = job(batch_size=BATCH, seed=SEED, architecture=architecture, averaging=averaging, max_epochs=EPOCHS)
    network = build(resolved.graph)
    network.load_state_dict(initial_state(resolved.graph, SEED))
    network.train()
    by_step = averaging["kind"] == "ema"
    average = (
        swa_utils.AveragedModel(network, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True)
        if by_step
        else swa_utils.AveragedModel(network)
    )
    member = ArrayTrainer([resolved], [data], CPU, [None])

    for epoch in range(1, EPOCHS + 1):
        member.epoch([epoch], [[0.01]])
    start = 0 if by_step else averaging.get("start", 5)
    train_plainly(resolved, torch.tensor(data.train.x), torch.tensor(data.train.y), average, network, start)

    found, expected = member.state(0), average.module.state_dict()
    assert found.keys() == expected.keys()
    for key, values in found.items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(values, expected[key], atol=1e-5, rtol=1e-4)
    assert any(not torch.equal(values, member.array.state(0)[key]) for key, values in found.items())


@pytest.mark.parametrize("averaging", [{"kind": "ema", "decay": 0.8}, {"kind": "swa", "start": 2}], ids=str)
def test_metrics_and_checkpoints_are_of_the_averaged_weights(averaging: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"averaging": averaging, "max_epochs": 12, "early_stopping": {"patience": 12}}
    resolved, data = job(**fields)
    observed = list(reports(**fields))
    x, y = torch.tensor(data.validation.x), torch.tensor(data.validation.y)

    def loss(state: dict[str, Tensor]) -> float:
        return nn.functional.cross_entropy(network_of(resolved, state)(x), y).item()

    best = [each.row for each in observed if each.row.is_best][-1]
    assert loss(observed[-1].best_state) == pytest.approx(best.val_loss, abs=1e-6)
    assert loss(observed[-1].last_state) == pytest.approx(observed[-1].row.val_loss, abs=1e-6)
    snapshot = observed[-1].snapshot
    assert snapshot.average is not None
    assert loss(snapshot.average) == pytest.approx(observed[-1].row.val_loss, abs=1e-6)
    assert any(not torch.equal(values, snapshot.weights[key]) for key, values in snapshot.average.items())


def test_a_mean_that_has_not_begun_is_the_network_itself() -> None:
    averaged, itself = (list(reports(averaging=each, max_epochs=3)) for each in ({"kind": "swa", "start": 3}, None))

    for one, other in zip(averaged[:2], itself[:2], strict=True):
        assert one.row.val_loss == other.row.val_loss
        assert_same(([], one.last_state, {}), ([], other.last_state, {}))
    assert averaged[2].row.val_loss != itself[2].row.val_loss  # statistics are computed anew


@pytest.mark.slow
@pytest.mark.parametrize("averaging", [{"kind": "ema", "decay": 0.8}, {"kind": "swa", "start": 2}], ids=str)
def test_a_job_with_averages_and_rates_by_step_may_stop_after_each_epoch(averaging: dict[str, Any]) -> None:
    resolved = synthetic(
        max_epochs=9,
        architecture={"hidden": [8], "dropout": 0.2},
        averaging=averaging,
        schedule={"kind": "coslog4", "warmup_steps": 4},
        optimizer={"kind": "adamw", "weight_decay": 0.1, "decay_schedule": "flat_cos", "rates": {"batch_norm": 2.0}},
        early_stopping=None,
        batch_size=16,
    )
    (undisturbed,) = outcomes([resolved])
    data, rows, point = prepare(resolved.preparation, None), list[Any](), None

    for _ in range(8):
        ((report,),) = islice(train([resolved], data, CPU, [point]), 1)
        rows.append(report.row)
        point = ResumePoint(from_bytes(to_bytes(report.snapshot, {}))[0], list(rows))
    (resumed,) = outcomes([resolved], starts=[point])

    assert_same((undisturbed[0][8:], *undisturbed[1:]), resumed)


def test_the_best_of_a_resumed_job_is_the_average_of_its_best_epoch() -> None:
    fields: dict[str, Any] = {"averaging": {"kind": "ema", "decay": 0.8}, "max_epochs": 5}
    resolved, data = job(**fields)
    training = Training([resolved], data, CPU)
    (report,) = training.epoch()
    seen = observe(training, report)
    assert seen.snapshot.best is None  # it is this epoch

    resumed = Training([resolved], data, CPU, [ResumePoint(seen.snapshot, [seen.row])])

    assert_same(([], resumed.best_state(0), {}), ([], seen.best_state, {}))


def test_the_snapshot_of_a_job_without_an_average_begins_one() -> None:
    resolved, data = job(max_epochs=4)
    averaged, _ = job(max_epochs=4, averaging={"kind": "ema", "decay": 0.5})
    training = Training([resolved], data, CPU)
    (report,) = training.epoch()
    seen = observe(training, report)

    resumed = Training([averaged], data, CPU, [ResumePoint(seen.snapshot, [seen.row])])

    assert_same(([], resumed.last_state(0), {}), ([], seen.last_state, {}))
