"""Upload parts that are sent at once: their bodies count against the quota, and storing them has slots."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import pytest

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, serving
from tests.api.test_expensive_work import ask, connections, held_slot
from tests.api.test_quota import answered, size, uploading
from tests.processes import until

ROOT = "/v1/datasets/uploads"
PART = 300_000

pytestmark = pytest.mark.e2e


@pytest.fixture
def limited(settings: Settings) -> Settings:
    changed = {"max_tenant_bytes": 1_000_000, "max_upload_bytes": 1_000_000, "upload_part_bytes": PART}
    return Settings.model_validate({**settings.model_dump(), **changed})


def test_bodies_of_parts_count_beside_the_upload(limited: Settings, database: Database, artifacts: Artifacts) -> None:
    """However often a part is sent at once, the disk has no more than the quota and the upload itself."""
    with serving(create_app(limited, database, artifacts, CoinPredictor())) as (_, url), ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=url, timeout=30))
        upload = client.post(ROOT, json={"size_bytes": 2 * PART}).json()
        address, sockets = (urlsplit(url).hostname, urlsplit(url).port), list[socket.socket]()
        head = f"PUT {ROOT}/{upload['id']}/parts/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {PART}\r\n\r\n"
        for number in range(1, 9):
            sockets.append(stack.enter_context(socket.create_connection(address, timeout=30)))
            sockets[-1].sendall(head.encode() + b"a,b\n" * 60_000)  # 240 kB, and more to come
            taken = 2 * PART + 240_000 * min(number, 4)
            until(lambda n=number, t=taken: uploading(client) == t and (n <= 4 or answered(sockets[-1])))

        assert [each.recv(12) for each in sockets[4:]] == [b"HTTP/1.1 413"] * 4
        assert sum(size(file) for file in artifacts.path("tmp", "").rglob("*")) <= 1_000_000
        for each in sockets[1:]:
            each.close()
        until(lambda: uploading(client) == 2 * PART + 240_000)
        sockets[0].sendall(b"a,b\n" * 15_000)

        assert sockets[0].recv(12) == b"HTTP/1.1 204"
        until(lambda: uploading(client) == 2 * PART)


def test_a_part_waits_for_a_slot_to_be_stored(limited: Settings, database: Database, artifacts: Artifacts) -> None:
    app = create_app(limited, database, artifacts, CoinPredictor())
    slots = app.state.shared.store_slots
    with serving(app) as (_, url), connections(url) as clients:
        upload = httpx2.post(url + ROOT, json={"size_bytes": 5}, timeout=30).json()
        with ExitStack() as stack:
            for _ in range(slots._slots.per_tenant):
                stack.enter_context(held_slot(slots, "default"))
            clients.append(ask(url, "PUT", f"{ROOT}/{upload['id']}/parts/1", b"a\n1\n2", "application/octet-stream"))
            until(lambda: slots.waiting == 1)
            assert list(artifacts.parts()) == []

        assert clients[0].recv(12) == b"HTTP/1.1 204"
        assert [part.size_bytes for part in artifacts.parts()] == [5]
