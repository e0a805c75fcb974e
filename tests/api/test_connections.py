"""Slow clients are disconnected; the connection limit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from service.api.connections import slow_clients
from tests.api.conftest import serving
from tests.api.job_factory import JobFactory, epoch
from tests.processes import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def hasty(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx2.Client]:
    """A client of a server with timeouts of one second."""
    monkeypatch.setattr(slow_clients, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(slow_clients, "READ_SECONDS", 1.0)
    with serving(app) as (_, url), httpx2.Client(base_url=url, timeout=30) as client:
        yield client


def connected(client: httpx2.Client) -> socket.socket:
    """A connection with a small receive buffer."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.settimeout(10)
    made.connect((client.base_url.host, client.base_url.port))
    return made


def trickle(connected: socket.socket, chunks: Iterator[bytes]) -> float:
    """Send a chunk every 0.1 s; returns the seconds until the server disconnects."""
    connected.settimeout(0.1)
    began = time.monotonic()
    while time.monotonic() - began < 10:
        try:
            connected.sendall(next(chunks))
            if not connected.recv(1):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def forever(first: bytes, then: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield then


POST = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n"


@pytest.mark.parametrize("first", [b"", b"GET /healthz HTTP/1.1\r\nX-Slow: ", POST], ids=["nothing", "headers", "body"])
def test_a_slow_request_is_disconnected(hasty: httpx2.Client, first: bytes) -> None:
    with connected(hasty) as slow:
        assert 0.9 < trickle(slow, forever(first, b" " if first else b"")) < 5


def test_a_long_request_that_makes_progress_is_served(hasty: httpx2.Client) -> None:
    def body() -> Iterator[bytes]:
        yield b"a,b\n"
        for _ in range(25):
            time.sleep(0.1)
            yield b"1,2\n" * 100

    assert hasty.post("/v1/datasets", content=body()).status_code == 201


def test_a_client_that_does_not_read_is_disconnected(
    hasty: httpx2.Client, job_factory: JobFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    claim = job_factory.running()
    job_factory.record(claim, *(epoch(number) for number in range(1, 30_001)))
    request = f"GET /v1/jobs/{claim.job_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    heard: list[int] = []

    def follow() -> None:
        with hasty.stream("GET", f"/v1/jobs/{claim.job_id}/stream") as response:
            for line in response.iter_lines():
                if line.startswith("id: "):
                    heard.append(int(line[4:]))
                if line == "event: end":
                    return

    reading = threading.Thread(target=follow)
    with connected(hasty) as deaf:
        deaf.sendall(request)
        reading.start()
        until(lambda: "neither sends nor reads" in caplog.text, 30)
        assert everything(deaf) < 30_000 * 100
    job_factory.finish(claim)
    reading.join(30)
    assert heard == list(range(1, 30_001))


def everything(connected: socket.socket) -> int:
    """The bytes received until the other end closes."""
    count = 0
    try:
        while data := connected.recv(2**20):
            count += len(data)
    except ConnectionResetError:
        pass
    return count


def test_an_idle_connection_is_kept_alive(hasty: httpx2.Client) -> None:
    statuses: list[Any] = []
    for _ in range(3):
        statuses.append(hasty.get("/healthz").status_code)
        time.sleep(0.5)

    assert statuses == [200] * 3


def test_at_the_connection_limit_the_longest_idle_one_is_closed(app: FastAPI) -> None:
    with serving(app, connections=3) as (_, url), httpx2.Client(base_url=url) as client:
        first, second, third = (connected(client) for _ in range(3))
        with first, second, third:
            for each in (first, second, third, first):  # now the second has been idle for longest
                assert ask(each).startswith(b"HTTP/1.1 200")

            with connected(client) as fourth:
                assert ask(fourth).startswith(b"HTTP/1.1 200")
                assert second.recv(1) == b""
                assert ask(first).startswith(b"HTTP/1.1 200")
                assert ask(third).startswith(b"HTTP/1.1 200")


def test_at_the_connection_limit_without_idle_ones_a_new_one_gets_a_503(app: FastAPI, job_factory: JobFactory) -> None:
    job_id = job_factory.queued().id
    with serving(app, connections=1) as (_, url), httpx2.Client(base_url=url) as client:
        with connected(client) as busy:
            busy.sendall(f"GET /v1/jobs/{job_id}?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            until(lambda: app.state.shared.metrics.open._value.get() == 1)
            with connected(client) as refused:
                answer = ask(refused)

        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after" in answer.lower()
        assert b'"code": "unavailable"' in answer


def ask(connected: socket.socket) -> bytes:
    """The complete response to a request on this connection."""
    connected.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        answer += connected.recv(2**16)
    return answer
