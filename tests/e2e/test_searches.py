"""Searches on a whole service: promoted and revived jobs have the bits of jobs that were trained at once."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.processes import wait_for_end

pytestmark = pytest.mark.e2e

BASE: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 300, "features": 5, "signal": 1.0}, "max_epochs": 16}
SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-3, 0.3]},
    "optimizer.kind": {"choice": ["adam", "sgd"]},
    "optimizer.momentum": {"uniform": [0, 0.9], "when": {"optimizer.kind": ["sgd"]}},
}


def ended(service: httpx2.Client, **fields: Any) -> Any:
    """A sweep once it has ended."""
    response = service.post("/v1/sweeps", json={"base": BASE, **fields})
    assert response.status_code == 201, response.text
    sweep = wait_for_end(service, response.headers["location"])
    assert sweep["error"] is None
    return sweep


def decisions(service: httpx2.Client, sweep: Any) -> list[Any]:
    recorded = service.get(f"/v1/sweeps/{sweep['id']}/decisions", params={"limit": 1000}).json()["data"]
    return [{name: value for name, value in each.items() if name != "created_at"} for each in recorded]


def jobs(service: httpx2.Client, sweep: Any) -> list[Any]:
    found: list[Any] = service.get("/v1/jobs", params={"sweep": sweep["id"], "limit": 100}).json()["data"]
    return sorted(found, key=lambda job: str(job["id"]))


def best_weights(service: httpx2.Client, job: Any) -> str:
    return str(service.get(f"/v1/jobs/{job['id']}/checkpoints/best").raise_for_status().json()["sha256"])


def test_promoted_and_revived_jobs_have_the_bits_of_jobs_trained_at_once(service: httpx2.Client) -> None:
    search = {"kind": "halving", "trials": 12, "eta": 2, "min_epochs": 2}
    sweep = ended(service, space=SPACE, search=search)

    proposed = [each["point"] for each in decisions(service, sweep) if each["kind"] == "proposed"]
    plain = jobs(service, ended(service, points=proposed))
    searched = jobs(service, sweep)

    assert {job["status"] for job in searched} == {"succeeded", "pruned"}
    for job, other in zip(searched, plain, strict=True):
        assert job["spec"] == other["spec"]
        if job["status"] == "pruned":
            assert job["progress"]["epoch"] in (2, 4, 8)
            service.post(f"/v1/jobs/{job['id']}/resume").raise_for_status()
        revived = wait_for_end(service, f"/v1/jobs/{job['id']}")
        assert (revived["status"], revived["progress"]["epoch"]) == ("succeeded", other["progress"]["epoch"])
        assert best_weights(service, job) == best_weights(service, other)


@pytest.mark.parametrize(
    "search",
    [
        {"kind": "tpe", "trials": 14, "startup_trials": 4, "batch": 5, "seed": 2},
        {"kind": "hyperband", "trials": 12, "eta": 3, "min_epochs": 2},
        {"kind": "random", "trials": 30, "epochs": 120},
    ],
    ids=lambda search: str(search["kind"]),
)
def test_a_search_decides_twice_the_same(service: httpx2.Client, search: dict[str, Any]) -> None:
    first, second = (ended(service, space=SPACE, search=search, folds=2) for _ in range(2))

    assert decisions(service, first) == decisions(service, second)
    assert decisions(service, first)[-1]["kind"] == "stopped"
    assert first["best"]["point"] == second["best"]["point"]
    epochs = sum(job["progress"]["epoch"] for job in jobs(service, first))
    assert epochs <= search.get("epochs", 10**6)


def test_a_search_publishes_its_winner(service: httpx2.Client) -> None:
    search = {"kind": "halving", "trials": 6, "eta": 2, "min_epochs": 4}

    sweep = ended(service, space=SPACE, search=search, model="winners")

    assert sweep["published"] == {"model": "winners", "version": 1}
    version = service.get("/v1/models/winners/versions/1").json()
    assert [member["job"] for member in version["members"]] == [sweep["best"]["job"]]
    assert decisions(service, sweep)[-1]["kind"] == "published"
