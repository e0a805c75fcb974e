"""Sweeps with the Python client, against a real service."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev

import httpx2
import pytest

from bestepoch import ApiError, Client
from service.domain.status import Status
from service.domain.sweep import Sweep as State
from service.domain.sweep import SweepStatus
from tests.e2e.test_client import DroppingProxy
from tests.processes import ENDLESS

PENGUINS = Path("examples/penguins.csv")
SMALL = {"data": {"kind": "synthetic", "signal": 3.0}, "architecture": {"hidden": [8]}, "max_epochs": 5}


def test_a_sweep_over_a_table_ranks_its_jobs(client: Client) -> None:
    looks = list[State]()

    sweep = client.sweep(
        PENGUINS, "species", grid={"optimizer.lr": [0.0001, 0.01]}, replicates=3, name="rates", max_epochs=5
    )
    sweep.wait(120, each=looks.append)

    assert (sweep.state.status, sweep.state.name, sweep.state.counts["succeeded"]) == (SweepStatus.finished, "rates", 6)
    assert looks[-1] == sweep.state
    rows, (first, second) = sweep.results(), sweep.summary()
    assert [row.value for row in rows] == sorted(row.value or 0.0 for row in rows)
    assert [first.point, second.point] == [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.0001}]
    values = [row.value or 0.0 for row in rows if row.point["optimizer.lr"] == 0.01]
    assert first.value is not None
    assert (first.value.n, first.value.mean, first.value.std) == (
        3, pytest.approx(fmean(values)), pytest.approx(stdev(values)),
    )  # fmt: skip
    best = sweep.best()
    assert (best.id, best.state.spec.optimizer.lr, best.state.spec.max_epochs) == (rows[0].job, 0.01, 5)
    assert best.predict([{"bill_length_mm": 39.1, "island": "Torgersen"}])
    assert [epoch.epoch for epoch in best.history(after_epoch=3)] == [4, 5]
    assert f"{sweep.id}: finished, 6 succeeded, best val_loss" in repr(sweep)


def test_a_job_spec_can_be_the_base(client: Client) -> None:
    points = [{"early_stopping": None}, {"early_stopping.patience": 1}]

    sweep = client.sweep({**SMALL, "name": "job"}, points=points, folds=2, labels={"of": "client"}, max_epochs=2).wait()

    assert (sweep.state.base["max_epochs"], sweep.state.points, sweep.state.labels) == (2, points, {"of": "client"})
    jobs = list(client.jobs(sweep=sweep.id))
    assert [job.state.name for job in jobs] == ["job"] * 4
    assert {job.state.spec.split.fold for job in jobs} == {1, 2}
    assert client.sweep_of(sweep.id).state == sweep.state
    assert next(client.sweeps()).id == sweep.id


def test_a_sweep_is_cancelled_with_all_its_jobs(client: Client) -> None:
    sweep = client.sweep(ENDLESS, grid={"batch_size": [32, 64]}, replicates=2)

    with pytest.raises(TimeoutError, match=r"has not ended within 0\.1 s"):
        sweep.wait(0.1)
    sweep.cancel().wait(60)

    assert (sweep.state.status, sweep.state.counts[Status.cancelled]) == (SweepStatus.cancelled, 4)


def test_a_sweep_without_a_finite_epoch_has_no_best_job(client: Client) -> None:
    hopeless = {"optimizer": {"kind": "sgd", "lr": 10.0}, "architecture": {"hidden": []}, "batch_size": 1}
    data = {"kind": "inline", "x": [[1e6 * n, n] for n in range(20)], "y": [1e3 * n for n in range(20)]}
    base = {**hopeless, "task": "regression", "preprocess": {"numeric": "none"}, "data": data}

    sweep = client.sweep(base).wait(60)

    assert sweep.state.counts[Status.failed] == 1
    with pytest.raises(LookupError, match="has no best job"):
        sweep.best()


def test_an_invalid_sweep_is_rejected_with_a_pointer(client: Client) -> None:
    with pytest.raises(ApiError) as raised:
        client.sweep(SMALL, grid={"optimizer.lr": [0.1, -1.0]})
    with pytest.raises(TypeError, match=r"data\.target"):
        client.sweep(SMALL, "y")
    with pytest.raises(TypeError, match="target="):
        client.sweep(PENGUINS)

    assert raised.value.errors[0]["pointer"] == "/grid/optimizer.lr/1"


def test_a_retried_sweep_is_created_once(service: httpx2.Client, client: Client) -> None:
    proxy, before = DroppingProxy(int(service.base_url.port or 0), dropped=2), len(list(client.sweeps()))
    with Client(proxy.url) as behind:
        sweep = behind.sweep({**SMALL, "seed": 78}, replicates=2)
    proxy.close()

    assert proxy.used >= 3
    everything = list(client.sweeps())
    assert (len(everything), everything[0].id) == (before + 1, sweep.id)
