"""Importance of a sweep's parameters over HTTP; tests/search has the estimate itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.routes import sweep_importance
from service.search.parameter_columns import Column
from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.sweep_requests import submit
from tests.store.sweep_records import train

Seen = list[tuple[list[Column], list[float]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What the child process is asked; each column gets a larger share than the one before."""
    seen: Seen = []

    def shares(columns: Sequence[Column], target: Sequence[float], _: Any) -> list[float]:
        seen.append((list(columns), list(target)))
        return [0.1 * (index + 1) for index in range(len(columns))]

    monkeypatch.setattr(sweep_importance, "shares", shares)
    return seen


@both_databases
def test_points_are_their_means_over_seeds_with_the_values_of_the_base_where_they_change_nothing(
    client: TestClient, database: Database, asked: Seen
) -> None:
    points = [{"optimizer.lr": 10.0**-index} for index in range(1, 6)] + [
        {"batch_size": 2**index} for index in (2, 3, 4)
    ]
    sweep = submit(client, points=points, replicates=2).json()
    for index in range(8):
        train(database, val_loss=index)
        train(database, val_loss=index + 1.0)

    found = client.get(f"/v1/sweeps/{sweep['id']}/importance").json()

    assert (found["sweep"], found["monitor"], found["points"]) == (sweep["id"], "val_loss", 8)
    ranked = [(each["name"], each["scale"], each["importance"]) for each in found["parameters"]]
    assert ranked == [("batch_size", "linear", 0.2), ("optimizer.lr", "log", 0.1)]
    ((columns, target),) = asked
    assert target == pytest.approx([index / 7 for index in range(8)])
    assert columns[1].values == pytest.approx([1.0] * 5 + [0.0, 4 / 60, 12 / 60])


def test_parameters_that_cannot_be_compared_are_listed_with_the_reason(
    client: TestClient, database: Database, asked: Seen
) -> None:
    points: list[dict[str, Any]] = [{"optimizer.kind": "sgd", "optimizer.momentum": index / 10} for index in range(8)]
    sweep = submit(client, points=[*points, {"optimizer.kind": "adam"}]).json()
    for index in range(9):
        train(database, val_loss=float(index))

    found = client.get(f"/v1/sweeps/{sweep['id']}/importance").json()

    assert [each["name"] for each in found["parameters"]] == ["optimizer.kind"]
    assert found["left_out"] == [{"name": "optimizer.momentum", "reason": "only 8 of 9 points use it"}]


def test_many_points_are_thinned_evenly(
    client: TestClient, database: Database, asked: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_importance, "MAX_POINTS", 8)
    sweep = submit(client, grid={"optimizer.lr": [(index + 1) / 100 for index in range(16)]}).json()
    for index in range(16):
        train(database, val_loss=float(index))

    assert client.get(f"/v1/sweeps/{sweep['id']}/importance").json()["points"] == 8

    assert asked[0][1] == pytest.approx([index / 7 for index in range(8)])


def test_too_few_points_are_a_conflict_in_words(client: TestClient, database: Database, asked: Seen) -> None:
    sweep = submit(client, grid={"optimizer.lr": [(index + 1) / 100 for index in range(8)]}).json()
    train(database, val_loss=1.0)

    response = client.get(f"/v1/sweeps/{sweep['id']}/importance")

    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert response.json()["detail"] == (
        "importance of parameters needs at least 8 points with a value: 1 point has one so far"
    )


def test_equal_values_are_a_conflict_in_words(client: TestClient, database: Database, asked: Seen) -> None:
    sweep = submit(client, grid={"optimizer.lr": [(index + 1) / 100 for index in range(8)]}).json()
    for _ in range(8):
        train(database, val_loss=0.5)

    response = client.get(f"/v1/sweeps/{sweep['id']}/importance")

    assert response.status_code == 409
    assert response.json()["detail"] == "importance of parameters needs points that differ: all have val_loss 0.5"


def test_an_unknown_sweep_is_not_found(client: TestClient) -> None:
    assert client.get("/v1/sweeps/swp_0/importance").status_code == 404
