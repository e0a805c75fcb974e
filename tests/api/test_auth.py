"""Authentication and scopes: every route with every kind of invalid key."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT, Scope
from service.settings import Settings
from service.store import keys
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, serving
from tests.api.job_factory import JobFactory
from tests.api.operations import PUBLIC, SPEC, Maker, ids, key, operations

__all__ = ["ids", "key"]


def test_every_route_refuses_invalid_keys(app: FastAPI, client: TestClient, ids: dict[str, str], key: Maker) -> None:
    ours = key(DEFAULT_TENANT, Scope.admin)
    wrong = {
        "unknown": ("invalid_key", f"be_{'0' * 24}_{'A' * 43}"),
        "forged": ("invalid_key", ours[:-1] + ("A" if ours[-1] != "A" else "B")),
        "malformed": ("invalid_key", "two words"),
        "foreign text": ("invalid_key", "s3cret"),
        "expired": ("invalid_key", key(DEFAULT_TENANT, Scope.admin, days=-0.01)),
        "revoked": ("invalid_key", key(DEFAULT_TENANT, Scope.admin, revoked=True)),
        "none": ("unauthorized", None),
    }
    everything = operations(app)
    assert len(everything) > 28

    for operation in everything:
        for kind, (code, text) in wrong.items():
            answer = operation.ask(client, ids, text)
            assert (answer.status_code, answer.json()["code"]) == (401, code), (operation, kind)
            assert answer.headers["www-authenticate"].startswith("Bearer"), (operation, kind)
    assert client.get(f"/v1/jobs/{ids['job_id']}", headers={"Authorization": f"Bearer {ours}"}).status_code == 200


def test_every_route_refuses_an_insufficient_scope(
    app: FastAPI, client: TestClient, ids: dict[str, str], key: Maker
) -> None:
    of = {scope: key(DEFAULT_TENANT, scope) for scope in Scope}

    for operation in operations(app):
        said = app.openapi()["paths"][operation.path][operation.method.lower()]
        assert [operation.scope] in [list(*each.values()) for each in said["security"]], operation
        for scope, text in of.items():
            answer = operation.ask(client, ids, text)
            if scope.covers(operation.scope):
                assert answer.status_code not in (401, 403), (operation, scope, answer.text)
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), (operation, scope)
                assert f"`{operation.scope}`" in answer.json()["detail"]


def test_a_revoked_key_is_refused_within_a_second(database: Database, client: TestClient, key: Maker) -> None:
    text = key(DEFAULT_TENANT, Scope.read)
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get("/v1/jobs", headers=headers).status_code == 200

    with database.transaction() as connection:
        revoked = keys.revoke(connection, keys.find(connection)[0].id)
    time.sleep(1.0)
    answer = client.get("/v1/jobs", headers=headers).json()
    assert answer["detail"] == f"the key {revoked.id} is revoked since {revoked.revoked_at:%Y-%m-%d %H:%M} UTC"


def test_a_stream_ends_when_its_key_is_revoked(
    app: FastAPI, database: Database, job_factory: JobFactory, key: Maker
) -> None:
    claim, headers = job_factory.running(), {"Authorization": f"Bearer {key(DEFAULT_TENANT, Scope.read)}"}
    url = f"/v1/jobs/{claim.job_id}/stream"
    with (
        serving(app) as (_, base),
        httpx2.Client(base_url=base) as client,
        client.stream("GET", url, headers=headers) as s,
    ):
        lines = s.iter_lines()
        assert next(lines) == "event: job"
        with database.transaction() as connection:
            keys.revoke(connection, keys.find(connection)[0].id)
        time.sleep(0.6)
        job_factory.finish(claim)
        assert not [line for line in lines if line.startswith("event")]


def test_the_first_key_ends_open_access_within_a_second_permanently(client: TestClient, key: Maker) -> None:
    assert client.get("/v1/jobs").status_code == 200

    key("somebody", Scope.read, revoked=True)
    time.sleep(0.6)

    assert client.get("/v1/jobs").status_code == 401


@pytest.fixture
def locked(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    guarded = Settings.model_validate({"home": settings.home, "api_key": "s3cret"})
    with TestClient(create_app(guarded, database, artifacts, CoinPredictor())) as client:
        yield client


def every_path(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            yield "GET", f"{route.original_route.path}/file"
        for method in route.methods or ():
            yield method, str(route.path).replace("{kind}", "best")


def test_every_path_but_the_public_ones_needs_the_key(app: FastAPI, locked: TestClient) -> None:
    paths = set(every_path(app))

    refused = {(method, path) for method, path in paths if locked.request(method, path).status_code == 401}

    assert len(paths) > 25
    assert {path for _, path in paths - refused} == PUBLIC
    assert {path for _, path in refused}.isdisjoint(PUBLIC)


@pytest.mark.parametrize(
    "path", ["/v1", "/web", "/nope", "/healthz/", "/static-offline-docs", "/healthz//", "/docs/../v1/jobs"]
)
def test_unknown_paths_need_a_key_too(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 401


def test_a_401_says_what_is_missing(locked: TestClient) -> None:
    response = locked.get("/v1/jobs")

    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["detail"] == "An API key is required: `Authorization: Bearer KEY`."
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret", "Bearer é"]
)
def test_a_wrong_key_is_refused(locked: TestClient, given: str) -> None:
    headers = {b"Authorization": given.encode("latin-1")}

    assert locked.get("/v1/jobs", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_two_keys_at_once_are_refused(locked: TestClient) -> None:
    twice = [("Authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")]

    assert locked.get("/v1/jobs", headers=twice).json()["code"] == "invalid_key"


@pytest.mark.parametrize("given", ["Bearer s3cret", "bearer s3cret"])
def test_the_right_key_is_accepted(locked: TestClient, given: str) -> None:
    assert locked.get("/v1/jobs", headers={"Authorization": given}).status_code == 200


def test_a_key_need_not_be_ascii(settings: Settings, database: Database, artifacts: Artifacts) -> None:
    guarded = Settings.model_validate({"home": settings.home, "api_key": "clé-ключ"})
    with TestClient(create_app(guarded, database, artifacts, CoinPredictor())) as client:
        headers = {b"Authorization": "Bearer clé-ключ".encode()}

        assert client.get("/v1/jobs", headers=headers).status_code == 200  # type: ignore[arg-type]


def test_the_operators_key_and_tenants_keys_are_both_accepted(locked: TestClient, key: Maker) -> None:
    headers = {"Authorization": f"Bearer {key('other', Scope.submit)}"}
    locked.post("/v1/jobs", json=SPEC, headers=headers)

    assert len(locked.get("/v1/jobs", headers=headers).json()["data"]) == 1
    assert locked.get("/v1/jobs", headers={"Authorization": "Bearer s3cret"}).json()["data"] == []
