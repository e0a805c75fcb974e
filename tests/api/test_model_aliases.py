"""Aliases of models: moves, guards, rollback and history."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT, Scope
from service.domain.model_ref import ModelRef
from service.errors import CheckpointCorrupt
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.job_factory import JobFactory
from tests.api.operations import Maker, key
from tests.api.test_models import publish, published

__all__ = ["key"]

ALIAS = "/v1/models/churn/aliases/champion"


@pytest.fixture
def versions(client: TestClient, job_factory: JobFactory) -> list[int]:
    """Three versions of the model `churn`."""
    return [published(client, job_factory)["version"] for _ in range(3)]


def move(client: TestClient, version: int, **fields: Any) -> Any:
    return client.put(ALIAS, json={"version": version, **fields})


@both_databases
def test_an_alias_moves_and_rolls_back_version_by_version(client: TestClient, versions: list[int]) -> None:
    moves = [move(client, version).json() for version in (2, 3, 2, 1, 3)]

    assert [(each["version"], each["previous"]) for each in moves] == [(2, 1), (3, 2), (2, 1), (1, None), (3, 1)]
    assert client.get(ALIAS).json() == moves[-1]


@both_databases
def test_a_move_that_expects_another_version_is_refused(client: TestClient, versions: list[int]) -> None:
    assert move(client, 2, expected=1).status_code == 200

    response = move(client, 3, expected=1)

    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert response.json()["detail"] == "the alias 'champion' points to version 2; expected: version 1"
    assert client.get(ALIAS).json()["version"] == 2
    assert move(client, 2, expected=1).json()["version"] == 2  # a repeated move
    missing = client.put("/v1/models/churn/aliases/other", json={"version": 3, "expected": 1})
    assert missing.json()["detail"] == "the alias 'other' does not exist; expected: version 1"


@both_databases
def test_the_history_says_who_moved_an_alias_from_where_to_where(
    client: TestClient, versions: list[int], key: Maker
) -> None:
    move(client, 3)
    move(client, 3)  # changes nothing
    client.headers["Authorization"] = f"Bearer {key(DEFAULT_TENANT, Scope.admin)}"
    time.sleep(0.6)  # until the cache of open access has expired
    client.delete(ALIAS)
    move(client, 2)

    history = client.get(f"{ALIAS}/history").json()["data"]

    assert [(each["number"], each["from_version"], each["to_version"]) for each in history] == [
        (4, None, 2),
        (3, 3, None),
        (2, 1, 3),
        (1, None, 1),
    ]
    assert [each["by"]["key"] is None for each in history] == [False, False, True, True]
    page = client.get(f"{ALIAS}/history?limit=3").json()
    rest = client.get(f"{ALIAS}/history", params={"after": page["next"]}).json()
    assert ([each["number"] for each in rest["data"]], rest["has_more"]) == ([1], False)


@both_databases
def test_the_previous_version_is_one_that_still_exists(client: TestClient, versions: list[int]) -> None:
    for version in (2, 3):
        move(client, version)

    assert client.delete("/v1/models/churn/versions/2").status_code == 204

    assert client.get(ALIAS).json()["previous"] == 1
    assert client.get("/v1/models/churn").json()["aliases"][0]["previous"] == 1


def test_an_alias_of_something_unknown_is_refused(client: TestClient, versions: list[int]) -> None:
    unknown = move(client, 9)

    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/version")
    assert unknown.json()["detail"] == "the model 'churn' has no version 9"
    assert client.put("/v1/models/none/aliases/champion", json={"version": 1}).status_code == 404
    assert client.get("/v1/models/churn/aliases/other").status_code == 404
    assert client.get("/v1/models/churn/aliases/other/history").status_code == 404
    assert client.delete("/v1/models/churn/aliases/other").status_code == 404
    assert client.put("/v1/models/churn/aliases/Other", json={"version": 1}).status_code == 422
    assert move(client, 0).json()["errors"][0]["pointer"] == "/version"


def test_a_model_has_a_hundred_aliases_at_most(client: TestClient, versions: list[int], database: Database) -> None:
    for number in range(99):
        assert client.put(f"/v1/models/churn/aliases/a{number}", json={"version": 1}).status_code == 200

    response = client.put("/v1/models/churn/aliases/more", json={"version": 1})

    assert (response.status_code, response.json()["code"]) == (409, "conflict")


class Loading(CoinPredictor):
    """Remembers the files that it has loaded; refuses `damaged` ones."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.damaged: set[str] = set()

    def preload(self, ref: ModelRef) -> None:
        self.loaded += [member.sha256 for member in ref.members]
        if self.damaged.intersection(self.loaded[-len(ref.members) :]):
            raise CheckpointCorrupt("it is damaged")


def test_a_version_is_loaded_before_an_alias_moves_to_it(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    predictor = Loading()
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        jobs = [job_factory.trained(epochs=epochs).job_id for epochs in (3, 4, 5)]
        made = [publish(client, {"job": job_id}).json()["members"][0]["sha256"] for job_id in jobs]
        predictor.loaded, predictor.damaged = [], {made[2]}

        good, damaged = move(client, 2), move(client, 3)

        assert (good.status_code, damaged.status_code) == (200, 500)
        assert predictor.loaded == made[1:]
        assert client.get(ALIAS).json()["version"] == 2


def test_a_version_is_loaded_before_it_is_published(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    predictor, job_id = Loading(), job_factory.trained().job_id
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        best = client.get(f"/v1/jobs/{job_id}/checkpoints/best").json()
        predictor.damaged = {best["sha256"]}
        refused = publish(client, {"job": job_id})
        missing = client.get("/v1/models/churn")
        predictor.damaged = set()
        accepted = publish(client, {"job": job_id})

    assert (refused.status_code, refused.json()["code"], missing.status_code) == (500, "checkpoint_corrupt", 404)
    assert accepted.status_code == 201
    assert predictor.loaded == [best["sha256"]] * 2
