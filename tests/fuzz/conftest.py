"""The real application inside the test's process, with a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.settings import Settings
from tests.api.conftest import app, artifacts, backend, named

__all__ = ["app", "artifacts", "backend", "named"]

KEY = "s3cret"


@pytest.fixture
def settings(tmp_path: Path, named: None) -> Settings:
    return Settings.model_validate(
        {"home": tmp_path / "home", "max_upload_bytes": 100_000, "api_key": KEY, "max_failed_keys_per_minute": 0}
    )


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client
