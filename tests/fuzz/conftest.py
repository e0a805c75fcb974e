"""The real application inside the test's process, with a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor

KEY = "s3cret"


@pytest.fixture
def backend() -> str:
    """One kind of database is enough: what is tried is what comes before it."""
    return "sqlite"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    names = {"api_key": KEY, "hosts": "testserver"}
    return Settings.model_validate({"home": tmp_path / "home", "max_upload_bytes": 100_000, **names})


@pytest.fixture
def artifacts(settings: Settings) -> Artifacts:
    return Artifacts(settings.artifacts)


@pytest.fixture
def app(settings: Settings, database: Database, artifacts: Artifacts) -> FastAPI:
    return create_app(settings, database, artifacts, CoinPredictor())


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client
