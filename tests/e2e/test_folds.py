"""Cross-validation from outside: the folds of a sweep train as one array, and each equals the same job alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import upload
from tests.processes import wait_for_end

Train = Callable[[dict[str, Any]], dict[str, Any]]
SPEC: dict[str, Any] = {
    "architecture": {"hidden": [12], "dropout": 0.1},
    "optimizer": {"lr": 0.02},
    "batch_size": 32,
    "max_epochs": 25,
    "early_stopping": {"patience": 2},
}


@pytest.fixture(scope="module")
def table(service: httpx2.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """403 rows with numbers, texts and gaps, a class, a number to predict, and sample weights."""
    lines = ["a,b,c,class,value,w"]
    for i in range(403):
        gap = "" if i % 11 == 0 else f"{i * 37 % 101 / 7:.3f}"
        lines.append(f"{gap},{i * i % 13},{'pqr'[i * 7 % 3]},{'xyz'[i * i % 7 // 3]},{i * 0.37 % 9:.4f},{1 + i % 4}")
    path = tmp_path_factory.mktemp("folds") / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return upload(service, path)


def history(service: httpx2.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    epochs: list[dict[str, Any]] = service.get(f"/v1/jobs/{job['id']}/history").json()["data"]
    return epochs


def result(service: httpx2.Client, job: dict[str, Any]) -> tuple[Any, ...]:
    """What a job came to, but for its times and ids, with the bytes of its checkpoint."""
    assert job["status"] == "succeeded", job
    rows = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history(service, job)]
    best = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download").raise_for_status().content
    return job["stop_reason"], job["best"]["value"], job["test"] and job["test"]["metrics"], rows, best


@pytest.mark.parametrize(
    ("fields", "sweep"),
    [
        ({"target": "class", "weight": "w"}, {"folds": 5, "replicates": 2}),
        ({"target": "value"}, {"folds": 4, "repeats": 2}),
    ],
)
def test_the_folds_of_a_sweep_train_as_one_array_and_equal_the_jobs_alone(
    service: httpx2.Client, train: Train, table: dict[str, Any], fields: dict[str, Any], sweep: dict[str, Any]
) -> None:
    data = {"kind": "dataset", "id": table["id"], "features": ["a", "b", "c"], **fields}
    loss = {"class_weight": "balanced"} if fields["target"] == "class" else {}
    base = {**SPEC, "data": data, "split": {"test": 0.1}, "loss": loss}

    created = service.post("/v1/sweeps", json={"base": base, **sweep})
    ended = wait_for_end(service, created.headers["location"])
    jobs = service.get("/v1/jobs", params={"sweep": ended["id"], "limit": 100}).json()["data"]

    size = sweep["folds"] * sweep.get("replicates", 1) * sweep.get("repeats", 1)
    assert (ended["status"], ended["counts"]["succeeded"], len(jobs)) == ("finished", size, size)
    first_epochs = [history(service, job)[0] for job in jobs]
    assert len({epoch["seconds"] for epoch in first_epochs}) == 1, "the time of an epoch is that of the whole array"
    assert len({job["progress"]["epoch"] for job in jobs}) > 1, "members leave the array at different epochs"
    for job in jobs:
        assert result(service, job) == result(service, train(job["spec"]))
    (point,) = service.get(f"/v1/sweeps/{ended['id']}/summary").json()["data"]
    assert (point["jobs"], point["value"]["n"]) == (size, sweep["folds"] * sweep.get("repeats", 1))


def test_a_sweep_trains_every_fold_of_every_repeat(service: httpx2.Client) -> None:
    x = [[float(i), float(i % 5)] for i in range(60)]
    base = {
        "data": {"kind": "inline", "x": x, "y": [i % 2 for i in range(60)]},
        "split": {"test": 0.2},
        "max_epochs": 1,
    }

    created = service.post("/v1/sweeps", json={"base": base, "folds": 3, "repeats": 2}).raise_for_status().json()
    plans = [
        service.post("/v1/jobs/plan", json=job["spec"]).json()
        for job in service.get("/v1/jobs", params={"sweep": created["id"]}).json()["data"]
    ]

    splits = [(plan["spec"]["split"]["repeat"], plan["spec"]["split"]["fold"]) for plan in plans]
    assert sorted(splits) == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert {(plan["rows"]["train"], plan["rows"]["validation"], plan["rows"]["test"]) for plan in plans} == {
        (32, 16, 12)
    }
    assert {plan["array"]["arrays"] for plan in plans} == {1}
