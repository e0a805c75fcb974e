"""Searches over HTTP: what is refused, what is recorded at the submission, and their plan."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.spec.space import MAX_NAMES
from tests.api.conftest import both_databases
from tests.api.sweep_requests import BASE, NUMBERS, errors, submit

LR: dict[str, Any] = {"optimizer.lr": {"log": [1e-4, 0.1]}}
RANDOM: dict[str, Any] = {"kind": "random", "trials": 3}


@pytest.mark.parametrize(
    ("space", "pointer", "message"),
    [
        ({"optimizer.lr": {"log": [0, 0.1]}}, "/space/optimizer.lr/log", "above 0"),
        ({"optimizer.lr": {"uniform": [0.1, 0.1]}}, "/space/optimizer.lr/uniform", "the smaller one first"),
        ({"optimizer.lr": {"uniform": [0.1]}}, "/space/optimizer.lr/uniform/1", "is required"),
        ({"batch_size": {"int": [1.5, 8]}}, "/space/batch_size/int/0", "should be a whole number"),
        ({"optimizer.lr": 0.1}, "/space/optimizer.lr", "one of uniform, log, int, log_int, choice"),
        ({"optimizer.lr": {"log": [1e-3, 1], "int": [1, 2]}}, "/space/optimizer.lr/int", "unknown field"),
        ({"optimizer.lr": {"choice": []}}, "/space/optimizer.lr/choice", "at least 1 item"),
        ({"optimizer.lr": {"choice": [0.1, 0.1]}}, "/space/optimizer.lr/choice/1", "is a duplicate"),
        ({"optimizer.lr": {"log": [1e-3, 100]}}, "/space/optimizer.lr", "less than or equal to 10"),
        ({"optimizer.lrr": {"log": [1e-3, 1]}}, "/space/optimizer.lrr", "unknown field; did you mean `optimizer.lr`?"),
        ({"optimizer.kind": {"choice": ["adam", "adamm"]}}, "/space/optimizer.kind/choice/1", "should be one of"),
        ({"optimizer.lrr": {"choice": [1, 2]}}, "/space/optimizer.lrr", "unknown field"),
        ({**LR, "seed": {"int": [0, 9], "when": {"optimizer.lr": [1]}}}, "/space/seed/when/optimizer.lr", "choice"),
        ({"seed": {"int": [0, 9], "when": {"a": [1]}}}, "/space/seed/when/a", "is not a name of the space"),
        ({f"labels.{i}": {"int": [0, 1]} for i in range(MAX_NAMES + 1)}, "/space", "at most 50"),
    ],
)
def test_a_wrong_space_is_refused_at_its_place(
    client: TestClient, space: dict[str, Any], pointer: str, message: str
) -> None:
    found = errors(client, space=space, search=RANDOM)

    assert found[0][0] == pointer
    assert message in found[0][1]


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({"space": LR}, "/search", "is required"),
        ({"search": RANDOM}, "/search", "needs trials: give a space, a grid or points"),
        ({"space": LR, "grid": {"seed": [1]}, "search": RANDOM}, "/space", "one of space, grid and points"),
        ({"space": LR, "search": {"trials": 3}}, "/search/kind", "is required"),
        ({"space": LR, "search": {"kind": "rnd"}}, "/search/kind", "'random', 'tpe', 'halving', 'hyperband'"),
        ({"space": LR, "search": {"kind": "tpe"}}, "/search/trials", "is required"),
        ({"grid": {"seed": [1]}, "search": RANDOM}, "/search/kind", "draws its trials from a space"),
        ({"grid": {"seed": [1]}, "search": {"kind": "halving", "trials": 3}}, "/search/trials", "is for a space"),
        (
            {"space": {"max_epochs": {"int": [1, 9]}}, "search": {**RANDOM, "kind": "halving"}},
            "/search/kind",
            "decides",
        ),
        ({"space": LR, "search": {**RANDOM, "kind": "halving", "min_epochs": 100}}, "/search/min_epochs", "less than"),
        ({"space": LR, "search": {**RANDOM, "epochs": 99}}, "/search/epochs", "should be at least 100"),
        ({"space": {"seed": {"int": [1, 2]}}, "search": RANDOM}, "/search/trials", "no more than 2 different points"),
        ({"space": LR, "search": {**RANDOM, "max_parameters": 2}}, "/search/trials", "no more than 0"),
        ({"space": LR, "search": {**RANDOM, "trials": 50_000}}, "/search/trials", "this server allows"),
        (
            {"space": LR, "search": {**RANDOM, "constraints": [{"terms": {"seed": 1}, "max": 1}]}},
            "/search/constraints/0/terms/seed",
            "is not a name of the space",
        ),
        ({"space": {"seed": {"int": [1, 9]}}, "search": RANDOM, "replicates": 2}, "/replicates", "remove `seed`"),
        ({"space": {"split.fold": {"int": [1, 2]}}, "search": RANDOM, "folds": 2}, "/folds", "remove them"),
        ({"space": LR, "search": RANDOM, "preset": "fast"}, "/preset", "remove `space`"),
    ],
)
def test_a_wrong_search_is_refused_at_its_place(
    client: TestClient, fields: dict[str, Any], pointer: str, message: str
) -> None:
    found = errors(client, **fields)

    assert found[0][0] == pointer
    assert message in found[0][1]


def test_losses_that_cannot_be_compared_are_refused_before_any_trial_has_them(client: TestClient) -> None:
    search = {"kind": "tpe", "trials": 9, "startup_trials": 1}
    space = {"loss.kind": {"choice": ["squared", "absolute"]}}

    ((pointer, message),) = errors(client, base=NUMBERS, space=space, search=search)

    assert pointer == "/space/loss.kind/choice/1"
    assert "val_loss of different losses cannot be compared" in message


@both_databases
def test_the_first_trials_and_their_decisions_are_recorded_with_the_sweep(client: TestClient) -> None:
    space = {**LR, "batch_size": {"int": [16, 64]}}
    search = {"kind": "halving", "trials": 6, "seed": 3, "eta": 2, "min_epochs": 10}

    sweep = submit(client, space=space, search=search, replicates=2).json()

    assert (sweep["status"], sweep["pending"], sweep["jobs"]) == ("running", True, 12)
    assert sweep["space"] == space
    assert sweep["search"].items() >= search.items()
    decisions = client.get(f"/v1/sweeps/{sweep['id']}/decisions").json()["data"]
    assert [(each["kind"], each["trial"], each["rung"], each["bracket"], each["epochs"]) for each in decisions] == [
        ("proposed", trial, 1, 1, 10) for trial in range(1, 7)
    ]
    jobs = client.get("/v1/jobs", params={"sweep": sweep["id"], "limit": 50}).json()["data"]
    assert sorted((job["trial"], job["epoch_limit"], job["spec"]["seed"]) for job in jobs) == [
        (trial, 10, seed) for trial in range(1, 7) for seed in (0, 1)
    ]
    for job in jobs:
        point = decisions[job["trial"] - 1]["point"]
        assert job["spec"]["optimizer"]["lr"] == point["optimizer.lr"]
        assert job["spec"]["batch_size"] == point["batch_size"]


def test_the_same_seed_draws_the_same_trials(client: TestClient) -> None:
    def points(seed: int) -> list[Any]:
        sweep = submit(client, space=LR, search={**RANDOM, "seed": seed}).json()
        return [each["point"] for each in client.get(f"/v1/sweeps/{sweep['id']}/decisions").json()["data"]]

    assert points(1) == points(1) != points(2)


def test_networks_have_at_most_the_parameters_asked_for(client: TestClient) -> None:
    space = {"architecture.hidden": {"choice": [[width] for width in range(2, 40)]}}

    sweep = submit(client, space=space, search={"kind": "random", "trials": 8, "max_parameters": 100}).json()

    jobs = client.get("/v1/jobs", params={"sweep": sweep["id"], "limit": 50}).json()["data"]
    assert len(jobs) == 8
    plans = [client.post("/v1/jobs/plan", json=job["spec"]).raise_for_status().json() for job in jobs]
    assert 80 < max(plan["parameters"] for plan in plans) <= 100


def test_cancelling_a_search_ends_it(client: TestClient) -> None:
    sweep = submit(client, space=LR, search={"kind": "tpe", "trials": 20}).json()

    found = client.post(f"/v1/sweeps/{sweep['id']}/cancel").json()

    assert (found["status"], found["pending"]) == ("cancelled", False)
    assert found["jobs"] == 10


@pytest.mark.parametrize(
    ("fields", "jobs", "epochs"),
    [
        ({"space": LR, "search": {"kind": "random", "trials": 20}}, 20, 2_000),
        ({"space": LR, "search": {"kind": "random", "trials": 20, "epochs": 1_050}}, 20, 1_050),
        ({"space": LR, "search": {"kind": "tpe", "trials": 64}, "replicates": 2}, 128, 12_800),
        ({"space": LR, "search": {"kind": "halving", "trials": 64}}, 64, 64 * 2 + 21 * 4 + 7 * 12 + 2 * 36 + 46),
        ({"grid": {"seed": [*range(8)]}, "search": {"kind": "halving", "min_epochs": 20}}, 8, 8 * 20 + 2 * 40 + 40),
    ],
)
def test_the_plan_of_a_search_says_its_jobs_and_epochs_at_most(
    client: TestClient, fields: dict[str, Any], jobs: int, epochs: int
) -> None:
    plan = client.post("/v1/sweeps/plan", json={"base": BASE, **fields}).raise_for_status().json()

    assert (plan["jobs"], plan["epochs"]) == (jobs, epochs)
    assert plan["points"] * fields.get("replicates", 1) == jobs
    assert plan["seconds"] > 0
    assert client.get("/v1/jobs").json()["data"] == []


def test_the_plan_names_the_rungs(client: TestClient) -> None:
    search = {"kind": "hyperband", "trials": 20, "eta": 3, "min_epochs": 20}

    plan = client.post("/v1/sweeps/plan", json={"base": BASE, "space": LR, "search": search}).json()

    assert [(rung["bracket"], rung["rung"], rung["trials"], rung["epochs"]) for rung in plan["rungs"]] == [
        (1, 1, 11, 20),
        (1, 2, 3, 60),
        (1, 3, 1, 100),
        (2, 1, 6, 60),
        (2, 2, 2, 100),
        (3, 1, 3, 100),
    ]
