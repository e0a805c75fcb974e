"""An epoch takes every row once, in an order that depends on (seed, epoch), without batches of one row."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from service.training.epoch import ArrayTrainer
from service.training.generators import row_order
from service.training.models import build, initial_state
from service.training.row_sets import batches
from tests.specs import synthetic
from tests.training.jobs import CPU, job


def group(**fields: Any) -> ArrayTrainer:
    resolved, data = job(**fields)
    return ArrayTrainer([resolved], [data], CPU, [None])


@given(st.integers(1, 300), st.integers(1, 80))
def test_batches_cover_every_row_once_and_only_a_batch_size_of_one_gives_single_rows(rows: int, size: int) -> None:
    taken = [list(range(rows))[batch] for batch in batches(rows, size)]

    assert list(chain.from_iterable(taken)) == list(range(rows))
    assert all(len(batch) in (size, size + 1) for batch in taken[:-1])
    assert size == 1 or rows == 1 or all(len(batch) > 1 for batch in taken)


@given(st.integers(4, 200), st.integers(1, 80) | st.just("full"))
def test_an_epoch_takes_as_many_steps_as_the_plan_says(rows: int, size: int | str) -> None:
    resolved = synthetic(
        data={"kind": "synthetic", "rows": rows, "features": 1},
        batch_size=size,
        architecture={"kind": "mlp", "batch_norm": False},
    )

    assert len(list(batches(resolved.rows.train, resolved.batch_rows))) == resolved.steps_per_epoch


def test_the_order_of_rows_is_a_function_of_seed_and_epoch() -> None:
    orders = {(seed, epoch): row_order(seed, epoch, 50) for seed in (0, 1) for epoch in (1, 2)}

    assert torch.equal(row_order(1, 2, 50), orders[1, 2])
    assert len({tuple(order.tolist()) for order in orders.values()}) == 4
    assert all(sorted(order.tolist()) == list(range(50)) for order in orders.values())


def test_epochs_in_batches_move_the_weights_as_a_plain_loop_over_the_same_rows_does() -> None:
    resolved, data = job(batch_size=9, seed=3, architecture={"hidden": [8], "batch_norm": False, "activation": "tanh"})
    member = ArrayTrainer([resolved], [data], CPU, [None])
    network = build(resolved.graph)
    network.load_state_dict(initial_state(resolved.graph, 3))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    x, y = torch.tensor(data.train.x), torch.tensor(data.train.y)

    for epoch in (1, 2, 3):
        member.epoch([epoch], [[0.01]])
        for rows in row_order(3, epoch, len(x)).split(9):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()

    for key, values in member.array.state(0).items():
        torch.testing.assert_close(values, network.state_dict()[key], atol=1e-5, rtol=1e-5)


def test_a_last_batch_of_one_row_with_batch_norm_joins_the_one_before() -> None:
    member = group(data={"kind": "synthetic", "rows": 81, "features": 3}, batch_size=64)

    (measured,) = member.epoch([1], [[0.01]])

    assert not measured.non_finite
    assert member.array.state(0)["layers.1.num_batches_tracked"] == 1


def test_weights_that_are_not_finite_leave_every_metric_undefined() -> None:
    member = group()
    member.array.parameters.fill_(torch.nan)

    (measured,) = member.epoch([1], [[0.01]])

    assert measured.non_finite
    assert measured.metrics == dict.fromkeys(
        ["val_accuracy", "val_balanced_accuracy", "val_f1_macro", "val_roc_auc", "val_log_loss"]
    )
