"""Steps of searches, with trials whose training is recorded by the tests, on both databases."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from starlette.testclient import TestClient

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status, StopReason
from service.store import datasets
from service.store.engine import Database
from service.store.jobs import attempt
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.api.conftest import both_databases
from tests.api.job_factory import epoch
from tests.api.sweep_requests import submit
from tests.store.records import checkpoint, publish

LR: dict[str, Any] = {"optimizer.lr": {"log": [1e-4, 0.1]}}


def train(client: TestClient, database: Database, sweep: Any, losses: dict[int, float | None]) -> Any:
    """Train the sweep's jobs to their limits or ends, with these losses by trial, until it has ended.

    A trial without a loss fails.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with database.transaction() as connection:
            taken = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)
        if taken:
            run(client, database, taken[0], losses)
        elif (found := client.get(f"/v1/sweeps/{sweep['id']}").json())["status"] != "running":
            return found
        else:
            time.sleep(0.02)
    raise AssertionError("the search did not end")


def run(client: TestClient, database: Database, taken: Any, losses: dict[int, float | None]) -> None:
    job = client.get(f"/v1/jobs/{taken.job_id}").json()
    loss, limit, before = losses[job["trial"]], job["epoch_limit"], job["progress"]["epoch"]
    last = limit or before + 1
    best = None if loss is None else BestSoFar(last, loss, {"val_loss": loss})
    rows = [epoch(number) for number in range(before + 1, last + 1)]
    with database.transaction() as connection:
        write(connection, "cpu", [AttemptRecord(taken.job_id, taken.attempt, rows, best)])
    if limit is not None and loss is not None:
        publish(database, taken, checkpoint(CheckpointKind.best, last), checkpoint(CheckpointKind.state, last))
    with database.transaction() as connection:
        if loss is None:
            attempt.finish(connection, taken.job_id, taken.attempt, Outcome(Status.failed, None))
        elif limit is None:
            attempt.finish(connection, taken.job_id, taken.attempt, Outcome(Status.succeeded, StopReason.max_epochs))
        else:
            attempt.release(connection, taken.job_id, taken.attempt)


def decided(client: TestClient, sweep: Any) -> list[tuple[str, int | None, int | None]]:
    recorded = client.get(f"/v1/sweeps/{sweep['id']}/decisions", params={"limit": 1000}).json()["data"]
    return [(each["kind"], each["trial"], each["epochs"]) for each in recorded]


@both_databases
def test_rungs_promote_the_best_and_prune_the_others(client: TestClient, database: Database) -> None:
    sweep = submit(client, space=LR, search={"kind": "halving", "trials": 5, "eta": 2, "min_epochs": 25}).json()

    ended = train(client, database, sweep, {1: 0.5, 2: 0.4, 3: 0.3, 4: None, 5: 0.2})

    assert decided(client, sweep)[5:] == [
        ("promoted", 5, 50),
        ("promoted", 3, 50),
        ("pruned", 2, 25),
        ("pruned", 1, 25),
        ("promoted", 5, None),
        ("pruned", 3, 50),
        ("stopped", None, None),
    ]
    assert {status: count for status, count in ended["counts"].items() if count} == {
        "succeeded": 1,
        "pruned": 3,
        "failed": 1,
    }
    assert (ended["pending"], ended["error"], ended["best"]["value"]) == (False, None, 0.2)


@both_databases
def test_tpe_proposes_the_next_batch_when_all_trials_have_ended(client: TestClient, database: Database) -> None:
    search = {"kind": "tpe", "trials": 5, "startup_trials": 2, "batch": 2}
    sweep = submit(client, space=LR, search=search, replicates=2).json()

    ended = train(client, database, sweep, {1: 0.5, 2: None, 3: 0.3, 4: 0.2, 5: 0.4})

    assert decided(client, sweep) == [*(("proposed", trial, None) for trial in range(1, 6)), ("stopped", None, None)]
    assert ended["jobs"] == 10
    jobs = client.get("/v1/jobs", params={"sweep": sweep["id"], "limit": 50}).json()["data"]
    assert Counter(job["trial"] for job in jobs) == dict.fromkeys(range(1, 6), 2)


@both_databases
def test_a_trial_that_makes_no_valid_spec_fails_and_the_search_goes_on(client: TestClient, database: Database) -> None:
    """Heads of an FT-Transformer must divide its width: each value is valid, not all pairs are."""
    space = {"architecture.width": {"choice": [8, 12]}, "architecture.attention_heads": {"choice": [4, 8]}}
    base = {
        "data": {"kind": "synthetic", "rows": 60, "features": 3},
        "architecture": {"kind": "ft_transformer", "width": 8, "attention_heads": 4, "blocks": 1},
    }
    search = {"kind": "tpe", "trials": 4, "startup_trials": 1, "batch": 3}
    response = client.post("/v1/sweeps", json={"base": base, "space": space, "search": search})
    sweep = response.raise_for_status().json()

    ended = train(client, database, sweep, dict.fromkeys(range(1, 5), 0.5))

    kinds = Counter(kind for kind, _, _ in decided(client, sweep))
    assert kinds == {"proposed": 4, "failed": 1, "stopped": 1}
    assert (ended["error"], ended["jobs"]) == (None, 3)


@both_databases
def test_a_search_ends_with_its_seconds(client: TestClient, database: Database) -> None:
    sweep = submit(client, space=LR, search={"kind": "random", "trials": 4, "seconds": 0.5}).json()
    with database.transaction() as connection:
        (running,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)

    deadline = time.monotonic() + 20
    while client.get(f"/v1/sweeps/{sweep['id']}").json()["counts"]["pruned"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run(client, database, running, {1: 0.5})
    ended = train(client, database, sweep, {})

    assert {status: count for status, count in ended["counts"].items() if count} == {"succeeded": 1, "pruned": 3}
    assert [kind for kind, _, _ in decided(client, sweep)] == ["proposed"] * 4 + ["pruned"] * 3 + ["stopped"]


def test_a_search_whose_data_set_was_deleted_ends_with_an_error(client: TestClient, database: Database) -> None:
    content = "a,y\n" + "\n".join(f"{i},{i % 2}" for i in range(80))
    data = client.post("/v1/datasets", content=content.encode()).json()
    base = {"data": {"id": data["id"], "target": "y"}}
    search = {"kind": "tpe", "trials": 2, "startup_trials": 1}
    sweep = client.post("/v1/sweeps", json={"base": base, "space": LR, "search": search}).json()
    with database.transaction() as connection:
        (taken,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)
    with database.transaction(DEFAULT_TENANT) as connection:
        attempt.finish(connection, taken.job_id, taken.attempt, Outcome(Status.succeeded, StopReason.max_epochs))
        datasets.remove(connection, data["id"])

    ended = train(client, database, sweep, {})

    assert "data set" in ended["error"]
    assert [kind for kind, _, _ in decided(client, sweep)] == ["proposed", "failed"]
