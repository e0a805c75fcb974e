"""Steps of a search while other API processes decide, clients act, or its budget in seconds runs out."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection
from starlette.testclient import TestClient

from service.api.context import RequestContext
from service.api.sweeps import advance, driver
from service.api.sweeps.search_steps import take_step
from service.domain.access import DEFAULT_TENANT, Caller, Scope
from service.store import decisions, sweeps
from service.store.decisions import PendingSweep
from service.store.engine import Database
from service.store.jobs import attempt
from service.store.jobs.claim import Claim
from tests.api.conftest import both_databases
from tests.api.sweep_requests import submit
from tests.store import sweep_records
from tests.store.records import claim, epoch, record

HALVING: dict[str, Any] = {
    "space": {"optimizer.lr": {"log": [1e-4, 0.1]}},
    "search": {"kind": "halving", "trials": 4, "eta": 2, "min_epochs": 1},
}


@pytest.fixture
def context(app: FastAPI, client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch) -> RequestContext:
    """What the driver takes decisions with; the application's own driver takes none."""
    monkeypatch.setattr(driver, "advance", lambda *_: False)
    caller = Caller(DEFAULT_TENANT, Scope.submit, None)
    return RequestContext(app.state.shared, caller, database.of(DEFAULT_TENANT))


def train_to_limits(database: Database, taken: list[Claim]) -> None:
    """Train these jobs up to their epoch limits."""
    for each in taken:
        assert each.epoch_limit is not None
        record(database, each, *(epoch(number) for number in range(1, each.epoch_limit + 1)))
        with database.transaction() as connection:
            attempt.release(connection, each.job_id, each.attempt)


def decided(client: TestClient, sweep: Any) -> list[str]:
    found = client.get(f"/v1/sweeps/{sweep['id']}/decisions").raise_for_status().json()["data"]
    return [each["kind"] for each in found if each["kind"] != "proposed"]


@both_databases
def test_a_process_that_is_overtaken_publishes_nothing(
    client: TestClient, context: RequestContext, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = submit(client, **HALVING, model="m").json()
    train_to_limits(database, claim(database, width=4))
    is_settled = decisions.is_settled

    def overtaken(connection: Connection, sweep_id: str) -> bool:
        settled = is_settled(connection, sweep_id)
        with context.database.reading() as own:
            assert take_step(context, sweeps.get(own, sweep_id)), "another process takes the step"
        return settled

    monkeypatch.setattr(decisions, "is_settled", overtaken)

    assert not advance.advance(context, sweep["id"])

    assert decided(client, sweep) == ["promoted", "promoted", "pruned", "pruned"]
    assert client.get("/v1/models/m").status_code == 404
    assert client.get(f"/v1/sweeps/{sweep['id']}").json()["pending"]


@both_databases
def test_trials_that_train_when_the_seconds_are_over_are_pruned_at_their_limits(
    client: TestClient, context: RequestContext, database: Database
) -> None:
    search = {**HALVING["search"], "seconds": 0.01}
    sweep = submit(client, space=HALVING["space"], search=search).json()
    running = claim(database, width=2)
    assert advance.advance(context, sweep["id"])
    assert decided(client, sweep) == ["pruned", "pruned", "stopped"]
    assert not advance.advance(context, sweep["id"])
    assert "bestepoch_sweeps_undecided 0.0" in client.get("/metrics").text

    train_to_limits(database, running)
    assert "bestepoch_sweeps_undecided 1.0" in client.get("/metrics").text
    while advance.advance(context, sweep["id"]):
        pass

    assert decided(client, sweep) == ["pruned", "pruned", "stopped", "pruned", "pruned"]
    ended = client.get(f"/v1/sweeps/{sweep['id']}").json()
    assert (ended["status"], ended["pending"], ended["counts"]["pruned"]) == ("finished", False, 4)


def test_jobs_on_which_decisions_depend_are_not_deleted(
    client: TestClient, context: RequestContext, database: Database
) -> None:
    sweep = submit(client, **HALVING).json()
    taken = claim(database, width=4)
    client.post(f"/v1/jobs/{taken[0].job_id}/cancel").raise_for_status()
    train_to_limits(database, taken)

    refused = client.delete(f"/v1/jobs/{taken[0].job_id}")

    assert refused.status_code == 409
    assert "cancel the sweep first" in refused.json()["detail"]
    client.post(f"/v1/sweeps/{sweep['id']}/cancel").raise_for_status()
    assert client.delete(f"/v1/jobs/{taken[0].job_id}").status_code == 204


def test_the_driver_goes_on_after_an_unexpected_error(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending, failed = decisions.pending, threading.Event()

    def broken(connection: Connection) -> list[PendingSweep]:
        if failed.is_set():
            return pending(connection)
        failed.set()
        raise RuntimeError("a bug")

    monkeypatch.setattr(decisions, "pending", broken)
    assert failed.wait(10)
    sweep = submit(client, model="m").json()
    sweep_records.train(database)

    assert client.get(f"/v1/sweeps/{sweep['id']}", params={"wait": 30}).json()["status"] == "finished"
