"""Replay of halving and stopping rules over the recorded curves of a sweep."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.routes import sweep_replay
from service.domain.status import Status, StopReason
from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch
from tests.api.sweep_requests import BASE, submit
from tests.store.records import claim

CURVES = {8: [0.9, 0.8, 0.2, 0.3], 16: [0.6, 0.5, 0.5, 0.6], 32: [0.7, 0.6, 0.6, 0.5], 64: [0.8, 0.9, 0.9, 0.9]}


def replays(client: TestClient, sweep_id: str, *rules: dict[str, Any]) -> Any:
    return client.post(f"/v1/sweeps/{sweep_id}/replay", json={"rules": rules})


def pointers(client: TestClient, sweep_id: str, *rules: dict[str, Any]) -> list[tuple[str, str]]:
    response = replays(client, sweep_id, *rules)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_spec"), response.text
    return [(error["pointer"], error["message"]) for error in response.json()["errors"]]


def train(
    database: Database,
    job_factory: JobFactory,
    losses: list[float],
    status: Status = Status.succeeded,
    stop: StopReason = StopReason.max_epochs,
) -> str:
    """The next job, with these losses on record."""
    (taken,) = claim(database)
    rows = [epoch(n, val_loss=loss, metrics={"val_accuracy": 1 - loss}) for n, loss in enumerate(losses, start=1)]
    job_factory.record(taken, *rows)
    job_factory.finish(taken, status, stop)
    return taken.job_id


@pytest.fixture
def sweep_id(client: TestClient, database: Database, job_factory: JobFactory) -> str:
    """A sweep of four points, trained for four epochs."""
    base = {**BASE, "max_epochs": 4, "early_stopping": None}
    sweep = submit(client, base=base, grid={"batch_size": list(CURVES)}).json()
    for losses in CURVES.values():
        train(database, job_factory, losses)
    return str(sweep["id"])


@both_databases
def test_each_rule_says_what_it_would_have_cost_and_missed(client: TestClient, sweep_id: str) -> None:
    response = replays(client, sweep_id, {"kind": "halving", "eta": 2, "min_epochs": 1}, {"patience": 1})

    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["object"], body["monitor"], body["trials"], body["epochs"]) == ("list", "val_loss", 4, 16)
    assert body["best"] == {"trial": 1, "point": {"batch_size": 8}, "value": 0.2}
    halving, patience = body["data"]
    assert halving["rule"] == {"kind": "halving", "eta": 2, "min_epochs": 1}
    assert (halving["epochs"], halving["saved"], halving["exact"]) == (1 + 1 + 2 + 4, 0.5, True)
    assert halving["winner"] == {"trial": 2, "point": {"batch_size": 16}, "value": 0.5}
    assert (halving["regret"], halving["relative_regret"]) == (pytest.approx(0.3), pytest.approx(1.5))
    assert "misses trial 1 at 0.2" in halving["reason"]
    assert (patience["epochs"], patience["winner"]["trial"], patience["regret"]) == (4 + 3 + 3 + 2, 1, 0.0)


def test_short_curves_are_named_with_what_they_lack(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    sweep = submit(client, base={**BASE, "max_epochs": 4}, grid={"batch_size": [8, 16]}).json()
    train(database, job_factory, [0.5, 0.4, 0.3, 0.2])
    cut = train(database, job_factory, [0.6, 0.5], Status.cancelled)

    halving, patience = replays(
        client, sweep["id"], {"kind": "halving", "eta": 2, "min_epochs": 3}, {"patience": 3}
    ).json()["data"]

    short = {"job": cut, "trial": 2, "status": "cancelled", "epochs": 2}
    assert (halving["exact"], halving["short"]) == (False, [{**short, "needed": 3}])
    assert (patience["exact"], patience["short"]) == (False, [{**short, "needed": None}])
    assert halving["reason"].endswith(
        "1 curve is too short to tell (1 ended, which can be forked with another stopping rule)."
    )


def test_seeds_of_a_point_are_one_trial(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    base = {**BASE, "max_epochs": 2, "early_stopping": None}
    sweep = submit(client, base=base, grid={"batch_size": [8, 16]}, replicates=2).json()
    for losses in ([0.5, 0.1], [0.7, 0.3], [0.4, 0.6], [0.6, 0.9]):
        train(database, job_factory, losses)

    body = replays(client, sweep["id"], {"kind": "halving", "eta": 2, "min_epochs": 1}).json()

    assert (body["trials"], body["best"]["trial"], body["best"]["value"]) == (2, 1, pytest.approx(0.2))
    assert (body["data"][0]["winner"]["trial"], body["data"][0]["epochs"]) == (2, 2 + 4)


def test_a_rule_monitors_the_metric_of_the_sweep(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    base = {**BASE, "max_epochs": 3, "early_stopping": {"monitor": "val_accuracy", "patience": 3}}
    sweep = submit(client, base=base).json()
    train(database, job_factory, [0.5, 0.4, 0.45])

    (found,) = replays(client, sweep["id"], {"patience": 1}).json()["data"]

    assert (found["rule"]["monitor"], found["winner"]["value"], found["epochs"]) == ("val_accuracy", 0.6, 3)
    assert pointers(client, sweep["id"], {"patience": 1, "monitor": "val_loss"}) == [
        ("/rules/0/monitor", "should be the metric of the sweep, val_accuracy")
    ]
    assert pointers(client, sweep["id"], {}, {"rule": "gl"}) == [
        ("/rules/1/monitor", "should be a loss or an error: this rule is not defined for val_accuracy")
    ]


@pytest.mark.parametrize(
    ("rules", "pointer", "message"),
    [
        (
            [{"kind": "halving", "min_epochs": 4}],
            "/rules/0/min_epochs",
            "should be less than max_epochs of the jobs, 4",
        ),
        ([{}, {"kind": "halving", "eta": 1}], "/rules/1/eta", "should be greater than or equal to 2"),
        ([{"kind": "tpe"}], "/rules/0/kind", "should be 'halving'"),
        ([{"rule": "best"}], "/rules/0/rule", "should be one of 'halving', 'patience', 'gl', 'pq', 'up'"),
        ([{"kind": "halving", "patience": 3}], "/rules/0/patience", "unknown field"),
        ([], "/rules", "should have at least 1 item, not 0"),
    ],
)
def test_an_invalid_rule_is_a_422_with_its_pointer(
    client: TestClient, sweep_id: str, rules: list[dict[str, Any]], pointer: str, message: str
) -> None:
    assert pointers(client, sweep_id, *rules) == [(pointer, message)]


def test_halving_needs_one_max_epochs(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    sweep = submit(client, grid={"max_epochs": [2, 3]}).json()
    for _ in range(2):
        train(database, job_factory, [0.5, 0.4])

    assert pointers(client, sweep["id"], {"kind": "halving"}) == [
        ("/rules/0/kind", "halving needs jobs with the same max_epochs")
    ]
    assert replays(client, sweep["id"], {"patience": 1}).status_code == 200


def test_a_sweep_without_epochs_or_with_several_metrics_is_a_409(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    points = [{}, {"early_stopping.monitor": "val_accuracy"}]
    sweep = submit(client, points=points).json()

    nothing = replays(client, sweep["id"], {"patience": 1})
    assert (nothing.status_code, nothing.json()["detail"]) == (409, "no job of the sweep has an epoch on record")
    train(database, job_factory, [0.5])
    several = replays(client, sweep["id"], {"patience": 1})
    assert (several.status_code, several.json()["detail"]) == (
        409,
        "some jobs of the sweep monitor another metric than val_loss",
    )
    assert replays(client, "swp_0", {}).status_code == 404


def test_too_many_decisions_in_one_request_are_a_422(
    client: TestClient, sweep_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_replay, "MAX_DECISIONS", 32)

    assert replays(client, sweep_id, {}, {}, {"kind": "halving"}).status_code == 200
    assert pointers(client, sweep_id, {}, {}, {}) == [("/rules", "16 epochs take at most 2 stopping rules at once")]
