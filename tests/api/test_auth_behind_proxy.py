"""A service without keys refuses forwarded requests."""

from __future__ import annotations

import time

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.domain.access import DEFAULT_TENANT, Scope
from tests.api.operations import Maker, ids, key, operations

pytestmark = pytest.mark.e2e

__all__ = ["ids", "key"]

FORWARDED = [
    {"Forwarded": "for=192.0.2.7"},
    {"X-Forwarded-For": "192.0.2.7"},
    {"X-Forwarded-Host": "train.example"},
    {"X-Forwarded-Proto": "https"},
    {"X-Real-IP": "192.0.2.7"},
    {"Via": "1.1 proxy"},
    {"Via": ""},
]


@pytest.mark.parametrize("headers", FORWARDED, ids=lambda headers: next(iter(headers)))
def test_forwarded_requests_are_refused_while_there_is_no_key(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/v1/jobs", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "open_behind_proxy")
    assert "`bestepoch keys create --scope admin`" in answer.json()["detail"]
    assert "BESTEPOCH_API_KEY" in answer.json()["detail"]
    assert client.get("/v1/jobs").status_code == 200


def test_without_keys_only_public_routes_answer_a_proxy(app: FastAPI, client: TestClient, ids: dict[str, str]) -> None:
    for operation in operations(app):
        answer = operation.ask(client, ids, None, Via="1.1 proxy")
        assert answer.status_code == 403, operation
        assert answer.json()["code"] == "open_behind_proxy"
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/"):
        assert client.get(path, headers={"Via": "1.1 proxy"}).status_code == 200, path


def test_with_a_key_forwarded_requests_are_accepted(client: TestClient, key: Maker) -> None:
    headers = {"Authorization": f"Bearer {key(DEFAULT_TENANT, Scope.read)}", "X-Forwarded-For": "192.0.2.7"}
    time.sleep(0.6)  # until the open door is forgotten

    assert client.get("/v1/jobs", headers=headers).status_code == 200
    assert client.get("/v1/jobs", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 401
