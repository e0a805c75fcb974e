"""Requests that need files of an object store: fetched in threads, never by the event loop; an outage is a 503."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from obstore.store import MemoryStore
from starlette.testclient import TestClient

from service.artifacts import Artifacts
from service.artifacts.cache import FileCache
from service.artifacts.objects import ObjectArtifacts
from service.errors import Unavailable
from service.settings import Settings
from tests.api.job_factory import JobFactory
from tests.api.test_models import published


class Objects(ObjectArtifacts):
    """Notes what is fetched, and by whom."""

    def __init__(self, cache: Path) -> None:
        super().__init__(MemoryStore(), "memory://bucket", FileCache(cache, 2**30))
        self.fetched: list[str] = []
        self.on_the_event_loop: list[str] = []
        self.down = False

    def path(self, key: str, sha256: str) -> Path:
        if self.down:
            raise Unavailable("the artifact store does not answer")
        self.fetched.append(key)
        try:
            asyncio.get_running_loop()
            self.on_the_event_loop.append(key)
        except RuntimeError:  # a thread
            pass
        return super().path(key, sha256)


@pytest.fixture
def artifacts(settings: Settings) -> Artifacts:
    return Objects(settings.home / "cache")


def requests(client: TestClient, job_factory: JobFactory) -> list[tuple[str, str, dict[str, object]]]:
    """A request of each kind that reads a stored file."""
    [member] = published(client, job_factory)["members"]
    job = f"/v1/jobs/{member['job']}"
    dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n3,4\n").json()["id"]
    rows = {"json": {"rows": [{"x0": 1}]}}
    csv = {"content": b"x0\n1\n", "headers": {"Content-Type": "text/csv"}}
    return [
        ("GET", f"{job}/checkpoints/best/download", {}),
        ("GET", f"{job}/checkpoints/best/download?format=pt", {}),
        ("GET", f"{job}/checkpoints/best/download?format=onnx", {}),
        ("POST", f"{job}/predict", rows),
        ("POST", f"{job}/predict", csv),
        ("POST", "/v1/models/churn/predict", rows),
        ("POST", "/v1/models/churn/predict", csv),
        ("GET", "/v1/models/churn/download", {}),
        ("GET", "/v1/models/churn/card", {}),
        ("GET", f"/v1/models/churn/members/{member['job']}/download", {}),
        ("GET", f"/v1/datasets/{dataset}/download", {}),
        ("GET", f"/v1/datasets/{dataset}/download?format=csv", {}),
        ("GET", f"/v1/datasets/{dataset}/preview", {}),
    ]


def test_files_are_fetched_in_threads(client: TestClient, job_factory: JobFactory, artifacts: Objects) -> None:
    for method, path, options in requests(client, job_factory):
        artifacts.fetched.clear()

        response = client.request(method, path, **options)  # type: ignore[arg-type]

        assert response.status_code == 200, (method, path, response.text)
        assert artifacts.fetched, (method, path)
        assert artifacts.on_the_event_loop == [], (method, path)


def test_an_outage_is_a_503_and_passes(client: TestClient, job_factory: JobFactory, artifacts: Objects) -> None:
    asked = requests(client, job_factory)
    artifacts.down = True
    for method, path, options in asked:
        response = client.request(method, path, **options)  # type: ignore[arg-type]

        assert (response.status_code, response.json()["code"]) == (503, "unavailable"), (method, path)
        assert response.headers["retry-after"], (method, path)

    artifacts.down = False
    method, path, options = asked[0]
    assert client.request(method, path, **options).status_code == 200  # type: ignore[arg-type]


def test_the_service_is_ready_while_the_store_has_the_deployment_id(client: TestClient, artifacts: Objects) -> None:
    missing = client.get("/readyz")
    artifacts.set_deployment_id("dep_1")

    assert (missing.status_code, missing.json()["detail"]) == (503, "the artifact store has lost its deployment id")
    assert client.get("/readyz").status_code == 200
