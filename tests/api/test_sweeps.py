"""Sweeps: all jobs or none, waiting, cancellation."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.http.openapi import SWEEP_EXAMPLES
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from service.store.jobs import resolutions
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.sweep_requests import BASE, submit
from tests.store.records import claim
from tests.store.sweep_records import train


@both_databases
def test_a_sweep_is_created_with_all_its_jobs(client: TestClient) -> None:
    grid = {"optimizer.lr": [0.1, 0.2, 0.3], "architecture.hidden": [[4], [8, 4]]}

    response = submit(client, name="rates", labels={"team": "a"}, grid=grid)

    sweep = response.json()
    assert (response.status_code, sweep["status"], sweep["jobs"], sweep["best"]) == (201, "running", 6, None)
    assert (sweep["name"], sweep["labels"], sweep["grid"], sweep["base"]) == ("rates", {"team": "a"}, grid, BASE)
    assert sweep["counts"]["queued"] == 6
    assert client.get(response.headers["location"]).json() == sweep
    jobs = client.get("/v1/jobs", params={"sweep": sweep["id"]}).json()["data"][::-1]
    assert [job["point"] for job in jobs] == [
        {"optimizer.lr": rate, "architecture.hidden": hidden} for rate in [0.1, 0.2, 0.3] for hidden in [[4], [8, 4]]
    ]
    assert all(job["spec"]["architecture"]["hidden"] == job["point"]["architecture.hidden"] for job in jobs)


def test_jobs_are_found_by_their_sweep_alone(client: TestClient) -> None:
    client.post("/v1/jobs", json=BASE)
    sweep = submit(client, replicates=2).json()

    assert len(client.get("/v1/jobs").json()["data"]) == 3
    assert [job["sweep"] for job in client.get(f"/v1/jobs?sweep={sweep['id']}").json()["data"]] == [sweep["id"]] * 2
    assert client.get("/v1/jobs?sweep=swp_0").json()["data"] == []


def test_a_sweep_over_the_queue_limit_is_a_429(tmp_path: Path, database: Database, artifacts: Artifacts) -> None:
    settings = Settings(home=tmp_path, max_queued_jobs=5)
    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        assert submit(client, replicates=3).status_code == 201

        response = submit(client, replicates=3)

        assert (response.status_code, response.json()["code"]) == (429, "queue_full")
        assert len(client.get("/v1/jobs").json()["data"]) == 3


@both_databases
def test_a_sweep_is_created_once_per_idempotency_key(client: TestClient) -> None:
    first = submit(client, "night-1", replicates=2)
    again = submit(client, "night-1", replicates=2, grid=None)
    other = submit(client, "night-1", replicates=3)

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert other.json()["code"] == "idempotency_mismatch"
    assert len(client.get("/v1/jobs").json()["data"]) == 2


@both_databases
def test_twelve_posts_at_once_with_one_key_create_one_sweep(live: httpx2.Client) -> None:
    with ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(lambda _: submit(live, "rush", replicates=10), range(12)))

    assert sorted(response.status_code for response in responses) == [200] * 11 + [201]
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(live.get("/v1/jobs?limit=100").json()["data"]) == 10


def test_sweeps_are_listed_newest_first_a_page_at_a_time(client: TestClient) -> None:
    created = [submit(client, name=f"{n}").json()["id"] for n in range(3)]

    first = client.get("/v1/sweeps?limit=2").json()
    second = client.get("/v1/sweeps", params={"limit": 2, "after": first["next"]}).json()

    assert [sweep["id"] for sweep in first["data"] + second["data"]] == created[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


@both_databases
def test_a_wait_ends_with_the_last_job(client: TestClient, database: Database) -> None:
    sweep = submit(client, replicates=3).json()
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(client.get(f"/v1/sweeps/{sweep['id']}?wait=20").json()))
    waiter.start()

    for _ in range(3):
        time.sleep(0.1)
        assert answers == []
        train(database, val_loss=0.5)
    waiter.join(5)

    assert [(answer["status"], answer["counts"]["succeeded"]) for answer in answers] == [("finished", 3)]


def test_a_wait_times_out(client: TestClient) -> None:
    sweep = submit(client).json()
    started = time.monotonic()

    answer = client.get(f"/v1/sweeps/{sweep['id']}?wait=0.3").json()

    assert 0.3 <= time.monotonic() - started < 30
    assert answer["status"] == "running"


def test_cancelling_is_accepted_while_a_job_runs(client: TestClient, database: Database) -> None:
    idle, busy = submit(client, replicates=3).json(), submit(client, base={**BASE, "priority": 1}, replicates=3).json()
    claim(database)

    at_once = client.post(f"/v1/sweeps/{idle['id']}/cancel")
    later = client.post(f"/v1/sweeps/{busy['id']}/cancel")

    assert (at_once.status_code, at_once.json()["status"]) == (200, "cancelled")
    assert (later.status_code, later.json()["status"]) == (202, "running")
    assert (later.json()["counts"]["running"], later.json()["counts"]["cancelled"]) == (1, 2)


@pytest.mark.parametrize("rest", ["", "/results", "/summary"])
def test_a_missing_sweep_is_a_404(client: TestClient, rest: str) -> None:
    assert client.get(f"/v1/sweeps/swp_0{rest}").status_code == 404
    assert client.post("/v1/sweeps/swp_0/cancel").status_code == 404


@pytest.mark.parametrize("name", SWEEP_EXAMPLES)
def test_the_examples_can_be_trained(client: TestClient, name: str) -> None:
    response = client.post("/v1/sweeps", json=SWEEP_EXAMPLES[name]["value"])

    assert response.status_code == 201, response.text


def test_jobs_that_differ_only_in_their_target_have_their_own_classes(client: TestClient, database: Database) -> None:
    rows = "".join(f"{n % 7},{'ab'[n % 2]},{'xyz'[n % 3]}\n" for n in range(60))
    uploaded = client.post("/v1/datasets", content=f"size,one,other\n{rows}").json()
    base = {"data": {"kind": "dataset", "id": uploaded["id"], "target": "one", "features": ["size"]}}

    submit(client, base=base, grid={"data.target": ["one", "other"]})

    claims = [*claim(database), *claim(database)]
    with database.reading() as connection:
        read = [resolutions.read(connection, [(each.spec, each.resolved or {})])[0].target for each in claims]
    assert sorted((target.column, target.classes) for target in read) == [
        ("one", ("a", "b")),
        ("other", ("x", "y", "z")),
    ]
