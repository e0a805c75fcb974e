"""An S3 server on this machine (moto's, over real HTTP) behind a proxy that injects faults."""

from __future__ import annotations

import atexit
import http.client
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from service.settings import free_port

FAULTS = ("error", "error after", "slow", "cut request", "cut response", "lost response")
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
BUCKET = "artifacts"
RUN = secrets.token_hex(8)
TOOLS = Path(sys.prefix) / "cluster/bin"  # of the environment that `make cluster` makes

Choice = Callable[[str, str], str | None]


class FaultProxy:
    """An HTTP proxy before a server. `choose(method, path)` names the fault of a request; None: no fault.

    `error`: 503 without forwarding. `error after`: forwarded, then 500. `slow`: a second late. `cut request`: the
    connection is closed before forwarding. `cut response`: half of the body is sent. `lost response`: forwarded, then
    the connection is closed without an answer.
    """

    def __init__(self, port: int, choose: Choice = lambda _method, _path: None) -> None:
        self.choose = choose
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, fault
        proxy = self

        class Handler(_Handler):
            target, faults = port, proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: int
    faults: FaultProxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faults.choose(self.command, self.path)
        self.faults.requests.append((self.command, self.path, fault))
        if fault == "slow":
            time.sleep(1.0)
        if fault == "cut request":
            self._cut()
            return
        if fault == "error":
            self._answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=30)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if fault == "error after":
            self._answer(500, [], b"<Error><Code>InternalError</Code></Error>")
        elif fault == "lost response":
            self._cut()
        else:
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
            self._answer(response.status, headers, answer, cut=fault == "cut response" and len(answer) > 1)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815 the names that http.server calls

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_arguments: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):
            super().handle()


def at_random(share: float, seed: int = 0) -> Choice:
    """Faults of all kinds in this share of the requests."""
    generator, lock = random.Random(seed), threading.Lock()

    def choose(_method: str, _path: str) -> str | None:
        with lock:
            return generator.choice(FAULTS) if generator.random() < share else None

    return choose


class Outage:
    """All requests fail while `down`."""

    def __init__(self) -> None:
        self.down = False

    def __call__(self, _method: str, _path: str) -> str | None:
        return "cut request" if self.down else None


@cache
def s3_port() -> int:
    """The port of moto's server, which runs until this process ends; it has an empty bucket."""
    port = free_port("127.0.0.1")
    command = [str(TOOLS / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.wait)
    atexit.register(process.kill)
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
            connection.request("PUT", f"/{BUCKET}", headers=headers)
            assert connection.getresponse().status == 200
            return port
        except OSError:
            assert process.poll() is None, "moto's server has ended"
            assert time.monotonic() < deadline, "moto's server does not answer"
            time.sleep(0.1)


@cache
def faulty_s3() -> FaultProxy:
    """A proxy before moto's server that fails every tenth request, until this process ends."""
    return FaultProxy(s3_port(), at_random(0.1))


def in_s3() -> bool:
    """Whether the services of tests/faults and tests/chaos are to have their artifacts in S3."""
    return os.environ.get("TEST_ARTIFACTS") == "s3"


def artifacts_environment(home: Path) -> dict[str, str]:
    """Settings of a deployment whose artifacts are in a store that often fails, if tests are to use one."""
    if not in_s3():
        return {}
    url = f"s3://{BUCKET}/{RUN}{home}"  # a service that starts again finds its files
    found = {**ENVIRONMENT, "AWS_ENDPOINT_URL": faulty_s3().url, "BESTEPOCH_ARTIFACTS_URL": url}
    os.environ.update({name: value for name, value in found.items() if name.startswith("AWS_")})  # obstore reads it
    return found
