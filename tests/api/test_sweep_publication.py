"""Sweeps with a `model`: they end by publishing a version, once, or say why not."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from service.api.sweeps.driver import SweepDriver
from service.errors import Unavailable
from service.store import decisions
from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory
from tests.api.test_models_of_sweeps import noise, trained
from tests.store import sweep_records


def ended(client: TestClient, sweep_id: str) -> Any:
    """The sweep once it has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = client.get(f"/v1/sweeps/{sweep_id}", params={"wait": 10}).raise_for_status().json()
        if found["status"] != "running":
            return found
    raise AssertionError(found)


def decided(client: TestClient, sweep_id: str) -> list[Any]:
    return client.get(f"/v1/sweeps/{sweep_id}/decisions").raise_for_status().json()["data"]


@both_databases
def test_the_best_point_is_published_at_the_end(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    sweep = trained(database, job_factory, [noise(1, 2.0), noise(2, 0.5)], model="prices")

    found = ended(client, sweep.id)

    assert (found["pending"], found["error"]) == (False, None)
    assert found["published"] == {"model": "prices", "version": 1}
    version = client.get("/v1/models/prices/versions/1").json()
    assert version["from"] == {"job": None, "sweep": sweep.id, "select": "best", "members": None}
    assert len(version["members"]) == 2
    (decision,) = decided(client, sweep.id)
    assert (decision["number"], decision["kind"]) == (1, "published")
    assert "version 1 of 'prices'" in decision["reason"]


def test_a_greedy_ensemble_is_published_if_asked_for(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    errors = [noise(1), noise(2), noise(3, 9.0)]
    sweep = trained(database, job_factory, errors, model="prices", select="greedy")

    ended(client, sweep.id)

    version = client.get("/v1/models/prices/versions/1").json()
    assert version["from"]["select"] == "greedy"
    assert len(version["members"]) == 4, "two folds of each of the two points that help"


def test_several_drivers_publish_once(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    state = client.app.state.shared  # type: ignore[attr-defined]
    others = [SweepDriver(state) for _ in range(3)]
    for driver in others:
        driver.start()
    sweep = trained(database, job_factory, [noise(1), noise(2)], model="prices")

    ended(client, sweep.id)
    for driver in others:
        driver.stop()

    assert client.get("/v1/models/prices/versions").json()["data"][0]["version"] == 1
    assert [each["kind"] for each in decided(client, sweep.id)] == ["published"]


def test_a_version_that_was_made_but_not_recorded_is_not_made_again(
    client: TestClient, database: Database, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, failures = decisions.take, list[str]()

    def broken(connection: Connection, sweep_id: str, *arguments: Any, **values: Any) -> None:
        if not failures:
            failures.append(sweep_id)
            raise Unavailable
        take(connection, sweep_id, *arguments, **values)

    monkeypatch.setattr(decisions, "take", broken)
    sweep = trained(database, job_factory, [noise(1), noise(2)], model="prices")

    assert ended(client, sweep.id)["published"] == {"model": "prices", "version": 1}
    assert failures == [sweep.id]
    assert len(client.get("/v1/models/prices/versions").json()["data"]) == 1


def test_what_prevents_the_publication_is_said(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    sweep = trained(database, job_factory, [noise(1), noise(2)], kept=False, model="prices", select="greedy")

    found = ended(client, sweep.id)

    assert (found["status"], found["published"]) == ("finished", None)
    assert "has kept no predictions" in found["error"]
    assert [each["kind"] for each in decided(client, sweep.id)] == ["failed"]


def test_a_cancelled_sweep_publishes_nothing(client: TestClient, database: Database) -> None:
    sweep = sweep_records.create(database, model="prices")

    client.post(f"/v1/sweeps/{sweep.id}/cancel").raise_for_status()

    assert ended(client, sweep.id)["status"] == "cancelled"
    assert client.get("/v1/models/prices").status_code == 404
    with database.reading() as connection:
        assert decisions.pending(connection) == []


def test_requests_that_cannot_be_are_refused(client: TestClient) -> None:
    base: dict[str, Any] = {"data": {"kind": "synthetic"}}
    refused = [
        ({"base": base, "select": "greedy"}, "/select"),
        ({"base": base, "model": "No Model"}, "/model"),
        ({"base": base, "preset": "perfect"}, "/preset"),
        ({"base": base, "preset": "good", "folds": 5}, "/preset"),
        ({"base": base, "preset": "good", "grid": {"seed": [1]}}, "/preset"),
    ]
    for body, pointer in refused:
        problem = client.post("/v1/sweeps", json=body)
        assert problem.status_code == 422, body
        assert [error["pointer"] for error in problem.json()["errors"]] == [pointer]


def test_the_plan_says_jobs_arrays_epochs_and_seconds(client: TestClient) -> None:
    base: dict[str, Any] = {"data": {"kind": "synthetic"}, "max_epochs": 10}
    plain = client.post("/v1/sweeps/plan", json={"base": base, "folds": 5, "replicates": 2}).raise_for_status().json()
    assert (plain["points"], plain["folds"], plain["jobs"], plain["arrays"], plain["epochs"]) == (1, 5, 10, 1, 100)
    assert 0 < plain["seconds"] < 60

    best = client.post("/v1/sweeps/plan", json={"base": base, "preset": "best"}).raise_for_status().json()
    assert best["recipes"] == "tabular-1"
    assert best["points"] > 1
    assert best["jobs"] == best["points"] * best["folds"]
    assert client.get("/v1/sweeps").json()["data"] == []


def test_the_plan_warns_of_what_the_client_sends(client: TestClient) -> None:
    rows = "".join(f"{i % 7},{i % 7 * 2.5}\n" for i in range(60))
    data = client.post("/v1/datasets", content=f"half,y\n{rows}").raise_for_status().json()
    base: dict[str, Any] = {"data": {"id": data["id"], "target": "y"}, "task": "regression"}

    def warned(preset: str, **settings: Any) -> set[str]:
        plan = client.post("/v1/sweeps/plan", json={"base": {**base, **settings}, "preset": preset}).raise_for_status()
        return {f"{warning['code']} {warning['pointer']}" for warning in plan.json()["warnings"]}

    of_data = {"target_leakage /data/features", "rows_on_both_sides /split"}
    assert warned("best") == of_data
    assert warned("good", max_epochs=5) == of_data, "the recipe's patience of 24 epochs is not the client's"
    of_batches = {"batch_larger_than_rows /batch_size", "one_step_per_epoch /batch_size"}
    assert warned("good", batch_size=500) == of_data | of_batches


def test_presets_are_the_plain_sweep_that_they_stand_for(client: TestClient) -> None:
    base: dict[str, Any] = {"data": {"kind": "synthetic"}, "max_epochs": 10}
    sweep = client.post("/v1/sweeps", json={"base": base, "preset": "good"}).raise_for_status().json()
    assert (sweep["preset"], sweep["recipes"], sweep["model"], sweep["pending"]) == ("good", "tabular-1", None, False)
    plain = {name: sweep[name] for name in ("points", "folds", "replicates")}
    again = client.post("/v1/sweeps", json={"base": base, **plain}).raise_for_status().json()

    def specs(sweep_id: str) -> list[Any]:
        jobs = client.get("/v1/jobs", params={"sweep": sweep_id, "limit": 100}).json()["data"]
        return [job["spec"] for job in jobs]

    assert specs(sweep["id"]) == specs(again["id"])
    assert np.all([spec["max_epochs"] == 10 for spec in specs(sweep["id"])]), "what the base sets stays"
