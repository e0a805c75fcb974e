"""Request ids, and the key that every path but a few needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor

PUBLIC = {
    "/healthz",
    "/readyz",
    "/docs",
    "/docs/oauth2-redirect",
    "/openapi.json",
    "/static-offline-docs/swagger-ui.css",
}


def test_a_sane_request_id_is_kept_and_another_replaced(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "a.B-3_"}).headers["x-request-id"] == "a.B-3_"
    for bad in ("", "with space", "x" * 129, "a\tb"):
        assert client.get("/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"].startswith("req_")


def test_two_requests_have_two_ids(client: TestClient) -> None:
    assert client.get("/healthz").headers["x-request-id"] != client.get("/healthz").headers["x-request-id"]


@pytest.fixture
def locked(tmp_path: Path, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    settings = Settings.model_validate({"home": tmp_path, "api_key": "s3cret"})
    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        yield client


def every_path(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            yield "GET", f"{route.original_route.path}/swagger-ui.css"
        for method in route.methods or ():
            yield method, str(route.path).replace("{kind}", "best")


def test_every_path_but_the_public_ones_needs_the_key(app: FastAPI, locked: TestClient) -> None:
    paths = set(every_path(app))

    refused = {(method, path) for method, path in paths if locked.request(method, path).status_code == 401}

    assert len(paths) > 25
    assert {path for _, path in paths - refused} == PUBLIC
    assert {path for _, path in refused}.isdisjoint(PUBLIC)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/nope", "/healthz/", "/static-offline-docs", "//healthz", "/docs/../v1/jobs"]
)
def test_what_is_not_public_is_refused_even_where_nothing_is(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 401


def test_a_refusal_says_what_is_missing(locked: TestClient) -> None:
    response = locked.get("/v1/jobs")

    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["detail"] == "A valid API key is required: `Authorization: Bearer KEY`."
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret", "Bearer é"]
)
def test_a_wrong_key_is_refused(locked: TestClient, given: str) -> None:
    headers = {b"Authorization": given.encode("latin-1")}

    assert locked.get("/v1/jobs", headers=headers).status_code == 401  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["Bearer s3cret", "bearer s3cret"])
def test_the_right_key_opens(locked: TestClient, given: str) -> None:
    assert locked.get("/v1/jobs", headers={"Authorization": given}).status_code == 200


def test_the_documentation_offers_the_key_only_where_there_is_one(client: TestClient, locked: TestClient) -> None:
    with_key, without = locked.get("/openapi.json").json(), client.get("/openapi.json").json()

    assert with_key["paths"]["/v1/jobs"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "401" in with_key["paths"]["/v1/jobs"]["get"]["responses"]
    assert "security" not in without["paths"]["/v1/jobs"]["get"]
