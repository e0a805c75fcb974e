"""JSON bodies: syntax, validation errors with pointers, size and media type."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.errors import located

JSON = {"Content-Type": "application/json"}
SYNTHETIC: dict[str, Any] = {"kind": "synthetic", "rows": 60, "features": 3}


def post(client: TestClient, body: bytes) -> Any:
    response = client.post("/v1/jobs", content=body, headers=JSON)
    return response.status_code, response.json()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"data":\n  {"kind": }}', "the body is not JSON at line 2, column 12: Expecting value"),
        (b'{"seed": NaN}', "the body is not JSON: NaN is no number; send null for a missing value"),
        (b'{"seed": -Infinity}', "the body is not JSON: -Infinity is no number; send null for a missing value"),
        (b'{"seed": 1, "seed": 2}', "the body names 'seed' twice in one object"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "the body holds a number of too many digits"),
        (b'{"name": "\xff"}', "the body is not UTF-8 at byte 10"),
        (b"[" * 10_000, "the body is nested too deeply"),
        (b'{"a":' * 10_000, "the body is nested too deeply"),
    ],
)
def test_invalid_json_is_a_400_with_its_position(client: TestClient, body: bytes, detail: str) -> None:
    status, problem = post(client, body)

    assert (status, problem["code"], problem["detail"]) == (400, "invalid_request", detail)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", ("", "should be a JSON object")),
        (b"null", ("", "should be a JSON object")),
        (b"", ("", "is required")),
        (b"{}", ("/data", "is required")),
        (b'{"data": 5}', ("/data", "should be a JSON object")),
        (b'{"data": {"target": "x"}}', ("/data/id", "is required")),
        (b'{"data": {"kind": "csv"}}', ("/data/kind", "should be one of 'dataset', 'synthetic', 'inline'")),
        (b'{"data": {"kind": "synthetic", "rows": 2}}', ("/data/rows", "should be greater than or equal to 3")),
        (b'{"data": {"kind": "synthetic", "signal": 1e400}}', ("/data/signal", "should be a finite number")),
        (b'{"data": {"kind": "synthetic", "a/b~c": 1}}', ("/data/a~1b~0c", "unknown field")),
        (
            b'{"data": {"id": "ds_1", "target": "y", "features": []}}',
            ("/data/features", "should have at least 1 item, not 0"),
        ),
    ],
)
def test_an_invalid_field_is_a_422_with_its_pointer(client: TestClient, body: bytes, error: tuple[str, str]) -> None:
    status, problem = post(client, body)

    assert (status, problem["code"]) == (422, "invalid_spec")
    assert [(found["pointer"], found["message"]) for found in problem["errors"]] == [error]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"seed": int("9" * 4000)}, ("/seed", "should be less than or equal to 4294967295")),
        ({"batch_size": "all"}, ("/batch_size", "should be a whole number or 'full'")),
        ({"architecture": {"hidden": [8, 0]}}, ("/architecture/hidden/1", "should be greater than or equal to 1")),
        ({"optimizer": {"betas": [0.9]}}, ("/optimizer/betas/1", "is required")),
        ({"optimizer": {"betas": [0.9] * 3}}, ("/optimizer/betas", "should have at most 2 items, not 3")),
        ({"optimizer": {"lr": "fast"}}, ("/optimizer/lr", "should be a number")),
        (
            {"early_stopping": {"patience": 5, "min_delta": -1}},
            ("/early_stopping/min_delta", "should be greater than or equal to 0"),
        ),
        ({"early_stopping": {"patience": 0}}, ("/early_stopping/patience", "should be greater than or equal to 1")),
        ({"early_stopping": {"rule": "gl", "patience": 5}}, ("/early_stopping/patience", "unknown field")),
        (
            {"early_stopping": {"rule": "best"}},
            ("/early_stopping/rule", "should be one of 'patience', 'gl', 'pq', 'up'"),
        ),
        (
            {"early_stopping": {"rule": "gl", "monitor": "val_r2"}},
            ("/early_stopping/monitor", "should be a loss or an error: this rule is not defined for val_r2"),
        ),
        ({"split": {"shuffle": "yes"}}, ("/split/shuffle", "should be true or false")),
        ({"labels": {"a": 5}}, ("/labels/a", "should be text")),
        ({"name": ""}, ("/name", "should have at least 1 character")),
    ],
)
def test_an_invalid_value_is_a_422_with_its_pointer(
    client: TestClient, fields: dict[str, Any], error: tuple[str, str]
) -> None:
    problem = client.post("/v1/jobs", json={"data": SYNTHETIC, **fields}).json()

    assert [(found["pointer"], found["message"]) for found in problem["errors"]] == [error]
    assert problem["detail"] == located(error[0][1:].replace("/", "."), error[1])


@pytest.mark.parametrize("name", ['"name": "\\ud800"', '"labels": {"\\ud800": "x"}', '"\\ud800": 1'])
def test_a_lone_surrogate_is_refused(client: TestClient, name: str) -> None:
    status, problem = post(client, f'{{"data": {{"kind": "synthetic"}}, {name}}}'.encode())

    assert (status, problem["code"]) == (422, "invalid_spec")


def test_at_most_20_errors_are_listed(client: TestClient) -> None:
    data = {"kind": "inline", "x": [["a"]] * 1000, "y": [[]] * 1000}

    problem = client.post("/v1/jobs", json={"data": data}).json()

    assert [error["pointer"] for error in problem["errors"]] == [f"/data/x/{row}/0" for row in range(20)]
    assert problem["detail"] == "data.x.0.0 should be a number (and 19 more)"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", None])
def test_another_media_type_is_a_415(client: TestClient, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    response = client.post("/v1/jobs", content=b"{}", headers=headers)

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert response.json()["detail"].endswith(f"its Content-Type is {content_type or 'missing'}")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
def test_json_media_types_with_parameters_and_suffixes_are_accepted(client: TestClient, content_type: str) -> None:
    body = b'{"data": {"kind": "synthetic"}}'

    assert client.post("/v1/jobs/plan", content=body, headers={"Content-Type": content_type}).status_code == 200


def spaces(count: int) -> Iterator[bytes]:
    yield b"{"
    yield from (b" " * 65_536 for _ in range(count))


def test_a_body_over_2_mib_is_a_413_with_and_without_content_length(live: httpx2.Client) -> None:
    announced = live.post("/v1/jobs", content=b" " * 3_000_000, headers=JSON)
    streamed = live.post("/v1/jobs", content=spaces(46), headers=JSON)

    for response in (announced, streamed):
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert response.json()["detail"].startswith("the body is larger than 2,097,152 bytes")


def test_a_large_valid_body_is_parsed_quickly(client: TestClient) -> None:
    data = {"kind": "inline", "x": [[0.25] * 20] * 500 + [[0.5] * 20] * 500, "y": [0, 1] * 500}

    began = time.perf_counter()
    response = client.post("/v1/jobs", json={"data": data})

    assert response.status_code == 201
    assert time.perf_counter() - began < 10  # a small fraction of one on a machine at rest
