"""Uploads on a full disk, and with a database that fails during the commit."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, serving

ROW = b"%07d,some words that fill a line of the file\n"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Simulates a full disk: the write that exceeds the space is short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def table(size: int) -> bytes:
    return b"number,words\n" + b"".join(ROW % i for i in range(size // len(ROW % 0)))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", max_upload_bytes=10_000_000)


@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_an_upload_on_a_full_disk_is_a_507(client: TestClient, form: bool) -> None:
    data = table(1_900_000)

    with files_of_at_most(1_500_000):  # reached within the last write
        if form:
            response = client.post("/v1/datasets", files={"file": data})
        else:
            response = client.post("/v1/datasets", content=data)

    assert (response.status_code, response.json()["code"]) == (507, "storage_error")
    assert client.get("/v1/datasets").json()["data"] == []
    assert client.post("/v1/datasets", content=data).json()["source_bytes"] == len(data)


def test_a_form_on_a_full_temporary_folder_is_a_507(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")

    response = client.post("/v1/datasets", files={"file": table(1_900_000)})

    assert (response.status_code, response.json()["code"]) == (507, "storage_error")


class LosesTheAnswerToCommit:
    """A Postgres proxy that, when enabled, disconnects after the server's response to a COMMIT."""

    def __init__(self, folder: str, server: str) -> None:
        self.losing = False
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/.s.PGSQL.5432")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,)).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            there = threading.Thread(target=self._pass_on, args=(client, server))
            there.start()
            self._pass_on(server, client)
            there.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.losing and b"COMMIT\0" in data and not data.startswith(b"Q"):
                    break  # the server's answer, which names the command as the client's query does
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_data_set_with_an_unknown_commit_result_keeps_its_file(
    database_url: str, settings: Settings, artifacts: Artifacts
) -> None:
    url = urlsplit(database_url)
    [host] = parse_qs(url.query).get("host", [""])
    if not host.startswith("/"):
        pytest.skip("stands before a server that listens on a socket in a folder")
    folder = tempfile.mkdtemp(dir="/tmp")  # a socket's path must be short
    between = LosesTheAnswerToCommit(folder, f"{host}/.s.PGSQL.5432")
    database = Database(f"postgresql://postgres@{url.path}?host={folder}")
    try:
        with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
            between.losing = True
            response = client.post("/v1/datasets", content=b"a,b\n1,2\n3,4\n")
            between.losing = False
            assert response.status_code == 503

            [dataset] = client.get("/v1/datasets").json()["data"]  # the commit was made
            stored = client.get(f"/v1/datasets/{dataset['id']}/download")
            assert (stored.status_code, len(stored.content)) == (200, dataset["parquet_bytes"])
    finally:
        database.close()
        between.close()
        shutil.rmtree(folder)


def test_a_refused_data_set_leaves_no_file(database: Database, tmp_path: Path, artifacts: Artifacts) -> None:
    settings = Settings(home=tmp_path / "home", max_dataset_bytes=1)
    app = create_app(settings, database, artifacts, CoinPredictor())

    with serving(app) as (_, url), httpx2.Client(base_url=url) as client:
        response = client.post("/v1/datasets", content=b"a,b\n1,2\n3,4\n")

    assert response.status_code == 413
    assert [names for _, _, names in os.walk(artifacts.path("datasets")) if names] == []
