"""Uploads of data sets: forms, options, deduplication, refusals, limits, aborted ones."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.artifacts import Artifacts
from service.settings import Settings
from tests.api.conftest import both_databases
from tests.api.datasets import CSV, files, upload

PART = b"--x\r\nContent-Disposition: form-data; %s\r\n\r\na,b\r\n--x--\r\n"


def test_a_multipart_form_gives_the_same_data_set_as_the_raw_bytes(client: TestClient, artifacts: Artifacts) -> None:
    form = client.post("/v1/datasets", files={"file": ("shoes.csv", CSV, "text/csv")})
    raw = upload(client)

    assert (form.status_code, raw.status_code) == (201, 200)
    assert raw.json() == form.json()
    assert raw.headers["location"] == form.headers["location"]
    assert len(files(artifacts, "datasets")) == 1
    assert files(artifacts, "tmp") == []


def test_the_same_bytes_with_other_options_are_another_data_set(client: TestClient) -> None:
    usual = upload(client).json()

    first, again = upload(client, null=["2.5", "x"]), upload(client, null=["x", "2.5"])

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] != usual["id"]
    assert first.json()["null_values"] == ["2.5", "x"]
    assert first.json()["columns"][0]["type"] == "text"  # NA is no missing value any more


@both_databases
def test_the_same_upload_five_times_at_once_is_one_data_set(live: httpx2.Client, artifacts: Artifacts) -> None:
    with ThreadPoolExecutor(5) as pool:
        responses = list(pool.map(lambda _: upload(live), range(5)))

    assert sorted(response.status_code for response in responses) == [200, 200, 200, 200, 201]
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(files(artifacts, "datasets")) == 1


@pytest.mark.parametrize("options", [{"content": b""}, {"files": {"file": ("x.csv", b"")}}])
def test_an_empty_upload_is_a_422(client: TestClient, options: dict[str, Any]) -> None:
    response = client.post("/v1/datasets", **options)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert response.json()["detail"].startswith("the body is empty")


@pytest.mark.parametrize(
    ("body", "content_type", "detail"),
    [
        (PART % b'name="data"; filename="f"', "boundary=x", "the form has no"),
        (PART % b'name="file"', "boundary=x", "the form has no file"),
        (b"junk", "boundary=x", "Invalid multipart data"),
        (b"junk", "", "Missing boundary"),
    ],
)
def test_a_form_without_the_file_is_a_400(client: TestClient, body: bytes, content_type: str, detail: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; {content_type}"}

    response = client.post("/v1/datasets", content=body, headers=headers)

    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    assert response.json()["detail"].startswith(detail)


def test_an_unreadable_file_is_refused_and_leaves_nothing(client: TestClient, artifacts: Artifacts) -> None:
    response = upload(client, b"\x00\x01\x02" * 50)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert client.get("/v1/datasets").json()["data"] == []
    assert files(artifacts, "tmp") == []


def chunks(count: int) -> Iterator[bytes]:
    yield from (b"1,2,3\n" * 1_000 for _ in range(count))


def test_an_upload_over_the_limit_is_a_413(live: httpx2.Client, settings: Settings, artifacts: Artifacts) -> None:
    too_many = settings.max_upload_bytes // 6_000 + 30
    announced = upload(live, b"".join(chunks(too_many)))
    streamed = live.post("/v1/datasets", content=chunks(too_many))
    form = live.post("/v1/datasets", files={"file": ("x.csv", b"".join(chunks(too_many)))})

    for response in (announced, streamed, form):
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert files(artifacts, "tmp") == []


def test_an_aborted_upload_leaves_nothing(
    live: httpx2.Client, artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection((live.base_url.host, live.base_url.port)) as connection:
        connection.sendall(b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\na,b\n1,2\n")
        wait_until(lambda: files(artifacts, "tmp") != [])

    wait_until(lambda: files(artifacts, "tmp") == [])
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("query", ["format=xlsx", "name=", "name=a%0Ab", "nulls=x", f"null={'x' * 101}"])
def test_invalid_options_are_refused(client: TestClient, query: str) -> None:
    response = client.post(f"/v1/datasets?{query}", content=CSV)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["parameter"] == query.split("=")[0]
