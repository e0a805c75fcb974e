"""Large JSON bodies do not block other requests, and refused ones are not read."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.http import json_body
from service.domain.access import DEFAULT_TENANT, Scope
from tests.api.conftest import serving
from tests.api.operations import Maker, key

__all__ = ["key"]

JSON = {"Content-Type": "application/json"}


def quickest(act: Callable[[], Any], times: int = 3) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return min(took)


def test_a_duplicate_name_is_found_in_one_pass(client: TestClient) -> None:
    names = b",".join(b'"a%d":1' % number for number in range(20_000))

    def post(last: bytes) -> int:
        return client.post("/v1/jobs", content=b"{" + names + last + b"}", headers=JSON).status_code

    assert (post(b""), post(b',"a19999":1')) == (422, 400)
    assert quickest(lambda: post(b',"a19999":1')) < 10 * quickest(lambda: post(b""))


@pytest.mark.parametrize(("rows", "on_the_loop"), [(10, True), (10_000, False)])
def test_only_small_bodies_are_parsed_on_the_event_loop(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch, rows: int, on_the_loop: bool
) -> None:
    loops, threads = list[int](), list[int]()
    parse = json_body._parse

    def parsing(content: bytes) -> Any:
        threads.append(threading.get_ident())
        return parse(content)

    async def loop() -> None:
        loops.append(threading.get_ident())

    monkeypatch.setattr(json_body, "_parse", parsing)
    app.add_api_route("/loop", loop)
    client.get("/loop")
    body = {"data": {"kind": "inline", "x": [[row] for row in range(rows)], "y": [0, 1] * (rows // 2)}}

    assert client.post("/v1/jobs/plan", json=body).status_code == 200
    assert (threads == loops) is on_the_loop


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/sweeps", "/v1/jobs/job_1/fork"])
def test_an_insufficient_scope_is_refused_before_the_body_is_read(app: FastAPI, key: Maker, path: str) -> None:
    text = key(DEFAULT_TENANT, Scope.read)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {text}\r\n"
    with serving(app) as (_, url), socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5) as made:
        made.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2000000\r\n\r\n".encode())

        assert made.recv(100).startswith(b"HTTP/1.1 403 ")


def test_too_many_lists_and_objects_are_a_413(client: TestClient) -> None:
    body = b'{"points": [' + b",".join([b"[]"] * 100_001) + b"]}"

    answer = client.post("/v1/sweeps", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "more than 100,000 lists and objects" in answer.json()["detail"]


def test_a_query_with_thousands_of_unknown_names_lists_the_first(client: TestClient) -> None:
    errors = client.get("/v1/jobs?" + "&".join(f"a{number}" for number in range(9_000))).json()["errors"]

    assert [error["parameter"] for error in errors] == [f"a{number}" for number in range(20)]
