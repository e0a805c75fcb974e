"""Connections to fetch from, and limits."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.connections.fetch import fetch
from service.connections.messages import FetchedFile, FetchLimits
from service.data.processes.runner import Allowance
from service.domain.connection import EVERY_TENANT, Connection, ConnectionKind

ALLOWED = Allowance(memory_bytes=2**29, unpacked_bytes=2**20, seconds=60)
LIMITS = FetchLimits(rows=1_000, size_bytes=100_000, seconds=30)
Fetch = Callable[..., list[FetchedFile]]


def declared(url: str, kind: ConnectionKind, **fields: Any) -> Connection:
    """A connection as an operator declares it."""
    common = {"tenant": EVERY_TENANT, "options": {}, "secrets": {}, "allow_private": False}
    created = datetime(2026, 1, 1, tzinfo=UTC)
    return Connection(id="con_1", name="lake", kind=kind, created_at=created, url=url, **{**common, **fields})


@pytest.fixture
def fetched(tmp_path: Path) -> Fetch:
    """Fetches into a new folder, in the real process; secrets are their own references."""
    folder = tmp_path / "fetched"
    folder.mkdir()

    def run(connection: Connection, limits: FetchLimits = LIMITS, **what: str) -> list[FetchedFile]:
        return fetch(connection, folder, ALLOWED, limits, lambda reference: reference, **what)

    return run


class WebServer:
    """An HTTP server on loopback: `pages` by path, each a (status, headers, body); `asked` has the requests."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, dict(self.headers)))
                status, headers, body = server.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler

    def wrap(self, context: Any) -> None:
        """Speak TLS."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server."""
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def elsewhere() -> Iterator[WebServer]:
    """Another one, which no connection leads to."""
    server = WebServer()
    yield server
    server.close()
