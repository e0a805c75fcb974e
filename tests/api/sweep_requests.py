"""Requests for sweeps, and the errors in their answers."""

from __future__ import annotations

import json
from typing import Any

import httpx2
from starlette.testclient import TestClient

BASE: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 60, "features": 3}}
NUMBERS: dict[str, Any] = {
    "data": {"kind": "inline", "x": [[i, i % 7] for i in range(60)], "y": [i / 8 for i in range(60)]}
}


def submit(client: TestClient | httpx2.Client, key: str | None = None, **fields: Any) -> Any:
    headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
    return client.post("/v1/sweeps", content=json.dumps({"base": BASE, **fields}), headers=headers)


def errors(client: TestClient, **fields: Any) -> list[tuple[str, str]]:
    response = submit(client, **fields)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_spec"), response.text
    assert client.get("/v1/jobs").json()["data"] == []
    return [(error["pointer"], error["message"]) for error in response.json()["errors"]]
