"""Files of a bucket, from a server that speaks S3: what it says of them, patterns, access, and its host alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import obstore
import pytest
from obstore.store import S3Store

from service.domain.connection import Connection, ConnectionKind
from service.errors import InvalidData, SourceError, TooLarge
from service.settings import free_port
from tests.connections.conftest import LIMITS, Fetch, declared, fetched

__all__ = ["fetched"]

MOTO = Path(sys.prefix) / "cluster/bin/moto_server"
KEYS = {"access_key_id": "key", "secret_access_key": "secret"}
FILES = {
    "tables/2026/a.csv": b"a,b\n1,2\n",
    "tables/2026/b c.csv": b"a,b\n3,4\n",
    "tables/2026/deep/c.csv": b"a,b\n5,6\n",
    "other/secret.csv": b"secret\n",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """URL of an S3 server with the bucket `lake`."""
    if not MOTO.exists():
        pytest.skip("no moto_server: `make cluster` installs it")
    port = free_port("127.0.0.1")
    command = [str(MOTO), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        httpx2.put(f"{url}/lake", timeout=30).raise_for_status()
        client = {"allow_http": True, "timeout": timedelta(seconds=30)}
        store = S3Store("lake", endpoint=url, region="us-east-1", client_options=client, **KEYS)  # type: ignore[arg-type]
        for path, content in FILES.items():
            obstore.put(store, path, content)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture
def lake(endpoint: str) -> Connection:
    options = {"endpoint": endpoint}
    return declared("s3://lake/tables", ConnectionKind.s3, options=options, secrets=KEYS, allow_private=True)


def test_a_pattern_reads_the_objects_below_the_prefix(lake: Connection, fetched: Fetch) -> None:
    files = fetched(lake, path="2026/*.csv")

    assert [(file.path, file.local.read_bytes()) for file in files] == [
        ("2026/a.csv", b"a,b\n1,2\n"),
        ("2026/b c.csv", b"a,b\n3,4\n"),
    ]
    assert all(file.etag and file.modified_at for file in files)
    assert [file.path for file in fetched(lake, path="**/c.csv")] == ["2026/deep/c.csv"]
    assert fetched(lake) == []


def test_a_path_does_not_leave_the_prefix_and_missing_objects_are_named(lake: Connection, fetched: Fetch) -> None:
    for path in ("2026/gone.csv", "other/secret.csv"):
        with pytest.raises(InvalidData, match=f"there is no file '{path}'"):
            fetched(lake, path=path)
    with pytest.raises(SourceError):
        fetched(lake, path="../other/secret.csv")


def test_the_bytes_of_all_objects_are_limited(lake: Connection, fetched: Fetch) -> None:
    with pytest.raises(TooLarge, match="more than 12 bytes"):
        fetched(lake, LIMITS.model_copy(update={"size_bytes": 12}), path="2026/*.csv")


def test_a_private_or_silent_endpoint_fails_with_the_reason(lake: Connection, fetched: Fetch) -> None:
    with pytest.raises(SourceError, match="private address"):
        fetched(lake.model_copy(update={"allow_private": False}), path="2026/a.csv")
    closed = lake.model_copy(update={"options": {"endpoint": f"http://127.0.0.1:{free_port('127.0.0.1')}"}})
    with pytest.raises(SourceError, match="does not answer"):
        fetched(closed, path="2026/a.csv")


def test_a_bucket_that_does_not_exist_fails(lake: Connection, fetched: Fetch) -> None:
    with pytest.raises(SourceError):
        fetched(lake.model_copy(update={"url": "s3://nobody"}), path="*.csv")
