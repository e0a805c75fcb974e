"""Every command and program of the documents is run, in order, against a real service; what they show comes out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.settings import free_port
from tests.databases import postgres_database
from tests.documents import HERE, TUTORIALS, blocks, name_of, run, to_run
from tests.e2e.test_client import DroppingProxy

TEAM = TUTORIALS / "team.md"

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("curl") is None, reason="documents are run by bash, with curl"
)


@pytest.mark.parametrize("path", [path for path in to_run() if path != TEAM], ids=name_of)
def test_a_document_does_what_it_says(path: Path, service: httpx2.Client, tmp_path: Path) -> None:
    url = str(service.base_url).rstrip("/")
    delete_models(service)  # of other documents: names begin with version 1

    run(path, tmp_path, {"BESTEPOCH_URL": url}, {HERE: url})


def delete_models(service: httpx2.Client) -> None:
    for model in service.get("/v1/models", params={"limit": 100}).raise_for_status().json()["data"]:
        path = f"/v1/models/{model['name']}"
        for alias in model["aliases"]:
            service.delete(f"{path}/aliases/{alias['alias']}").raise_for_status()
        service.delete(path).raise_for_status()


def test_a_team_works_as_its_document_says(postgres: str, tmp_path: Path) -> None:
    port = str(free_port("127.0.0.1"))
    environment = {"BESTEPOCH_HOME": str(tmp_path / "home"), "BESTEPOCH_PORT": port, "BESTEPOCH_TRAINERS": "1"}
    with postgres_database(postgres) as url:
        here = {
            HERE: f"http://127.0.0.1:{port}",
            "postgresql://bestepoch:secret@db.example/bestepoch": url,
            "/srv/bestepoch/artifacts": str(tmp_path / "artifacts"),
            "0.0.0.0": "127.0.0.1",  # a test opens nothing to others
        }

        run(TEAM, tmp_path, environment, here)


class TruncatingProxy(DroppingProxy):
    """A TCP proxy; the responses of its first `dropped` connections break off after 2,000 bytes."""

    def _pass(self, source: Any, target: Any, drop: bool) -> None:
        super()._pass(Limited(source, 2_000) if drop else source, target, False)


class Limited:
    """A socket from which no more than so many bytes come."""

    def __init__(self, inner: Any, left: int) -> None:
        self._inner, self._left = inner, left

    def recv(self, size: int) -> bytes:
        data: bytes = self._inner.recv(min(size, self._left)) if self._left else b""
        self._left -= len(data)
        return data

    def shutdown(self, how: int) -> None:
        self._inner.shutdown(how)


@pytest.fixture
def documented() -> dict[str, Any]:
    """What `client.py` of the document defines."""
    (program,) = (block.text for block in blocks(TUTORIALS / "client.md") if block.label.endswith("client.py"))
    names: dict[str, Any] = {"__name__": "client"}
    exec(program, names)  # noqa: S102
    return names


@pytest.fixture
def proxy(service: httpx2.Client) -> Iterator[TruncatingProxy]:
    proxy = TruncatingProxy(int(service.base_url.port or 0), dropped=0)
    yield proxy
    proxy.close()


def test_the_tutorials_client_retries_dropped_connections(
    documented: dict[str, Any], service: httpx2.Client, proxy: TruncatingProxy
) -> None:
    client = documented["Client"](proxy.url)
    before = service.get("/v1/jobs", params={"limit": 1}).json()["data"]

    proxy.dropped = 2
    job = client.submit({"data": {"kind": "synthetic"}, "early_stopping": None, "max_epochs": 30, "name": "x" * 200})
    proxy.dropped = proxy.used + 3
    epochs = [epoch["epoch"] for epoch in client.epochs(job["id"])]

    assert proxy.used == 7  # the submit: 2 dropped, 1 succeeded; the stream: 3 dropped, 1 succeeded
    assert epochs == list(range(1, 31))
    newest = service.get("/v1/jobs", params={"limit": 2}).json()["data"]
    assert [each["id"] for each in newest] == [job["id"], *(each["id"] for each in before)]
