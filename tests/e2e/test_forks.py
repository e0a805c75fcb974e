"""Forks of real jobs: more patience, more epochs, without training anything twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
from safetensors.torch import load

from tests.processes import wait_for_end

SPEC: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 400, "features": 8, "signal": 1.0},
    "architecture": {"hidden": [16], "dropout": 0.1},
    "schedule": {"kind": "plateau", "patience": 1},
}


def history(service: httpx2.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = service.get(f"/v1/jobs/{job['id']}/history", params={"limit": 1000}).json()["data"]
    of_another_rule = {"seconds", "closeness", "reason"}  # rows taken over say what the rule of their time made of them
    return [{name: value for name, value in row.items() if name not in of_another_rule} for row in rows]


def fork(service: httpx2.Client, job: dict[str, Any], **asked: Any) -> dict[str, Any]:
    response = service.post(f"/v1/jobs/{job['id']}/fork", json=asked)
    assert response.status_code == 201, response.text
    ended = wait_for_end(service, f"/v1/jobs/{response.json()['id']}")
    assert ended["status"] == "succeeded", ended
    return ended


def test_a_fork_with_more_patience_is_the_job_that_had_it_from_the_start(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    patient = train({**SPEC, "early_stopping": {"patience": 12}})
    hasty = train({**SPEC, "early_stopping": {"patience": 3}})
    assert hasty["progress"]["epoch"] < patient["progress"]["epoch"]

    forked = fork(service, hasty, changes={"early_stopping.patience": 12})

    assert history(service, forked) == history(service, patient)
    # The file may be the hasty job's, and then says so; the weights are the same.
    one, other = (load(service.get(job["best"]["checkpoint"]["download_url"]).content) for job in (forked, patient))
    assert {key: values.tolist() for key, values in one.items()} == {k: v.tolist() for k, v in other.items()}


def test_a_fork_with_more_epochs_is_the_job_that_had_them_from_the_start(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    long, short = (train({**SPEC, "early_stopping": None, "max_epochs": epochs}) for epochs in (12, 5))

    forked = fork(service, short, changes={"max_epochs": 12})

    assert history(service, forked) == history(service, long)
    assert forked["best"]["checkpoint"]["sha256"] == long["best"]["checkpoint"]["sha256"]


def test_a_fork_from_the_best_begins_with_its_weights(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    first = train({**SPEC, "max_epochs": 30, "early_stopping": None})

    forked = fork(service, first, checkpoint="best", changes={"optimizer.lr": 1e-9, "max_epochs": 1})

    assert abs(history(service, forked)[0]["val_loss"] - first["best"]["value"]) < 0.05
    assert forked["spec"]["optimizer"]["lr"] == 1e-9
