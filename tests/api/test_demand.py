"""GET /v1/demand."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from service.domain.access import DEFAULT_TENANT, Scope
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory
from tests.api.operations import SPEC, Maker, key
from tests.api.test_prometheus import metrics

__all__ = ["key"]

H100 = {**SPEC, "worker": {"labels": {"gpu": "h100"}}}


def demand(client: TestClient, key: str | None = None, **parameters: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    found: dict[str, Any] = client.get("/v1/demand", params=parameters, headers=headers).raise_for_status().json()
    return found


@both_databases
def test_the_demand_counts_queued_and_running_trainers(client: TestClient, job_factory: JobFactory) -> None:
    job_factory.running()
    for seed in range(17):
        client.post("/v1/jobs", json={**SPEC, "seed": seed})
    client.post("/v1/jobs", json=H100)
    client.post("/v1/jobs", json={**SPEC, "parallel": {"devices": 3}}).raise_for_status()

    assert demand(client) == {
        "object": "demand",
        "trainers": 7,
        "queued_trainers": 6,
        "running_trainers": 1,
        "queued_jobs": 19,
        "queued": [
            {"device": "auto", "labels": {}, "jobs": 18, "trainers": 5},
            {"device": "auto", "labels": {"gpu": "h100"}, "jobs": 1, "trainers": 1},
        ],
    }
    assert demand(client, device="cuda", labels="")["queued_trainers"] == 4
    assert demand(client, labels="gpu=h100,spot=true")["queued_trainers"] == 6
    assert demand(client, labels="gpu=h100", exclusive=True)["queued_trainers"] == 1


def test_wrong_labels_are_a_422_that_says_where(client: TestClient) -> None:
    answer = client.get("/v1/demand", params={"labels": "gpu"})

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["parameter"]) == (422, "labels")
    assert "'gpu' is not KEY=VALUE" in error["message"]


def test_only_keys_of_the_default_tenant_see_the_demand_of_all(client: TestClient, key: Maker) -> None:
    for tenant in ("one", "two"):
        headers = {"Authorization": f"Bearer {key(tenant, Scope.submit)}"}
        client.post("/v1/jobs", json=SPEC, headers=headers).raise_for_status()

    assert demand(client, key("one", Scope.read))["trainers"] == 1
    assert demand(client, key(DEFAULT_TENANT, Scope.read))["trainers"] == 2


@both_databases
def test_the_demand_is_a_metric(client: TestClient, job_factory: JobFactory) -> None:
    client.post("/v1/jobs", json={**H100, "parallel": {"devices": 2}})

    assert metrics(client)["bestepoch_queued_trainers", "auto", "gpu=h100"] == 2
