"""Problem responses (RFC 9457): status, code, detail, field errors."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service import errors
from service.api.http import problems

SPEC = {"data": {"kind": "synthetic", "rows": 60, "features": 3}}


def raise_at(app: FastAPI, error: Exception) -> None:
    """Give the application a route that fails."""

    async def fail() -> None:
        raise error

    app.add_api_route("/fails", fail)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidRequest(), 400, "invalid_request"),
        (errors.Unauthorized(), 401, "unauthorized"),
        (errors.NotFound(), 404, "not_found"),
        (errors.Conflict(), 409, "conflict"),
        (errors.TooLarge(), 413, "too_large"),
        (errors.InvalidSpec(), 422, "invalid_spec"),
        (errors.InvalidData(), 422, "invalid_data"),
        (errors.IdempotencyMismatch(), 422, "idempotency_mismatch"),
        (errors.QueueFull(), 429, "queue_full"),
        (errors.DatasetCorrupt(), 500, "dataset_corrupt"),
        (errors.CheckpointCorrupt(), 500, "checkpoint_corrupt"),
        (errors.PredictionsCorrupt(), 500, "predictions_corrupt"),
        (errors.Unavailable(), 503, "unavailable"),
        (errors.StorageError(), 507, "storage_error"),
    ],
)
def test_each_error_has_its_status_and_code(
    app: FastAPI, client: TestClient, error: errors.ServiceError, status: int, code: str
) -> None:
    raise_at(app, error)

    response = client.get("/fails", headers={"X-Request-Id": "night-7"})

    body = response.json()
    assert response.status_code == body["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert (body["code"], body["detail"], body["type"]) == (code, error.detail, "about:blank")
    assert body["request_id"] == response.headers["x-request-id"] == "night-7"


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (errors.Unauthorized(), "www-authenticate", "Bearer"),
        (errors.QueueFull(), "retry-after", "30"),
        (errors.Unavailable(), "retry-after", "2"),
    ],
)
def test_some_errors_say_in_a_header_what_to_do(
    app: FastAPI, client: TestClient, error: errors.ServiceError, header: str, value: str
) -> None:
    raise_at(app, error)

    assert client.get("/fails").headers[header] == value


def test_the_field_errors_of_an_error_are_listed(app: FastAPI, client: TestClient) -> None:
    raise_at(app, errors.InvalidSpec.at("/data/target", "no column 'x'"))

    assert client.get("/fails").json()["errors"] == [{"pointer": "/data/target", "message": "no column 'x'"}]


def test_an_unexpected_error_tells_the_client_its_id_and_the_log_the_rest(
    app: FastAPI, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    raise_at(app, ZeroDivisionError("secret"))

    with caplog.at_level(logging.ERROR):
        response = client.get("/fails")

    body = response.json()
    assert (response.status_code, body["code"], "detail" in body) == (500, "internal", False)
    assert body["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert body["request_id"] in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


def test_an_unknown_path_is_a_problem(client: TestClient) -> None:
    response = client.get("/v1/jbos")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response.json()["detail"] == "there is nothing at /v1/jbos"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, POST"),
        ("/v1/jobs/job_1", "DELETE, GET, PATCH"),
        ("/v1/jobs/plan", "POST"),
        ("/v1/jobs/job_1/checkpoints/best/download", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "OPTIONS"])
def test_a_405_lists_the_allowed_methods(client: TestClient, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    assert response.json()["detail"] == f"{method} is not possible here; there are: {allowed}"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/sweeps", "/v1/datasets", "/v1/datasets?columns=false"])
@pytest.mark.parametrize("after", ["zz", "job_", "ds_1%00", "swp_A", "1"])
def test_an_invalid_cursor_is_a_422(client: TestClient, path: str, after: str) -> None:
    response = client.get(path + ("&" if "?" in path else "?") + f"after={after}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "after"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/{job_id}/history?after_epoch=zz",
        "/v1/jobs/{job_id}/events?after=zz",
        "/v1/sweeps/{sweep_id}/results?after=zz",
        "/v1/sweeps/{sweep_id}/summary?after=zz",
    ],
)
def test_an_offset_cursor_is_a_number(client: TestClient, path: str) -> None:
    response = client.get(path.format(job_id="job_1", sweep_id="swp_1"))

    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] in ("after", "after_epoch")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", {"parameter": "limit", "message": "should be greater than or equal to 1"}),
        ("limit=many", {"parameter": "limit", "message": "should be a whole number"}),
        ("limit=2&limit=3", {"parameter": "limit", "message": "is given twice"}),
        ("status=lost", {"parameter": "status", "message": "should be 'queued', 'running', 'paused', "}),
        ("name=%00", {"parameter": "name", "message": "must not hold a NUL character"}),
        (
            "limti=3",
            {
                "parameter": "limti",
                "message": "unknown parameter; did you mean `limit`? (known: after, label.KEY",
            },
        ),
        ('label.a"b=1', {"parameter": 'label.a"b', "message": "should match pattern"}),
        ("label.=1", {"parameter": "label.", "message": "should match pattern"}),
    ],
)
def test_an_invalid_parameter_is_named(client: TestClient, query: str, error: dict[str, str]) -> None:
    response = client.get(f"/v1/jobs?{query}")

    (found,) = response.json()["errors"]
    assert response.status_code == 422
    assert found["parameter"] == error["parameter"]
    assert found["message"].startswith(error["message"])


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9"])
def test_an_invalid_header_is_named(client: TestClient, key: str) -> None:
    response = client.post("/v1/jobs", json=SPEC, headers={b"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]

    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"


def test_every_error_has_a_status_or_is_an_internal_error() -> None:
    known: set[Any] = set(errors.ServiceError.__subclasses__())

    ours = {
        errors.DatasetCorrupt,
        errors.CheckpointCorrupt,
        errors.PredictionsCorrupt,
        errors.LeaseLost,
        errors.Misconfigured,
    }
    assert known - set(problems.STATUSES) == ours
