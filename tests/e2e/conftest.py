"""A whole service in its own processes, as a user runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from bestepoch import Client
from examples.local_service import running_service
from service.cli import app
from tests.processes import wait_for_end

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a service with one trainer that all end-to-end tests of a process share."""
    with running_service(tmp_path_factory.mktemp("service"), BESTEPOCH_TRAINERS="1") as client:
        yield client


@pytest.fixture
def train(service: httpx2.Client) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Submit a spec and wait until the job has ended."""

    def run(spec: dict[str, Any]) -> dict[str, Any]:
        response = service.post("/v1/jobs", json=spec)
        assert response.status_code == 201, response.text
        return wait_for_end(service, response.headers["location"])

    return run


@pytest.fixture
def client(service: httpx2.Client) -> Iterator[Client]:
    with Client(str(service.base_url)) as client:
        yield client


@pytest.fixture
def run(service: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """`bestepoch` with these arguments, against the service."""
    monkeypatch.setenv("BESTEPOCH_URL", str(service.base_url))
    monkeypatch.delenv("BESTEPOCH_API_KEY", raising=False)
    yield lambda *arguments: CliRunner().invoke(app, list(arguments))
    assert logging.getLogger().level == logging.WARNING  # a command that calls a service sets up no logs


def upload(service: httpx2.Client, path: Path) -> dict[str, Any]:
    response = service.post("/v1/datasets", params={"name": path.name}, content=path.read_bytes())
    assert response.status_code in (200, 201), response.text
    dataset: dict[str, Any] = response.json()
    return dataset
