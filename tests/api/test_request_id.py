"""Request ids."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "a.B-3_"}).headers["x-request-id"] == "a.B-3_"
    for bad in ("", "with space", "x" * 129, "a\tb"):
        assert client.get("/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"].startswith("req_")


def test_two_requests_have_two_ids(client: TestClient) -> None:
    assert client.get("/healthz").headers["x-request-id"] != client.get("/healthz").headers["x-request-id"]
