"""What the service's processes write to their logs, and what they must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.local_service import wait_until_warm
from service.domain.access import Scope
from service.settings import free_port
from service.store import keys
from service.store.engine import Database, migrate
from tests.processes import get, submit
from tests.specs import REFERENCE

MASTER = "correct-horse-battery-staple"


class Logged:
    """A service and the lines of its log."""

    def __init__(self, home: Path, **settings: str) -> None:
        port = free_port("127.0.0.1")
        self.home, self.file = home, home / "log"
        environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_LOG_LEVEL": "debug", **settings}
        with self.file.open("wb") as log:
            command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=70.0)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(40)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Logged]:
    logged = Logged(tmp_path, BESTEPOCH_LOG_FORMAT="json", BESTEPOCH_API_KEY=MASTER, BESTEPOCH_TRAINERS="1")
    try:
        logged.client.headers["Authorization"] = f"Bearer {MASTER}"
        wait_until_warm(logged.client, logged.process)
        yield logged
    finally:
        logged.stop()


def test_lines_say_which_request_job_and_worker_they_are_about(service: Logged) -> None:
    answer = service.client.post("/v1/jobs", json={**REFERENCE, "max_epochs": 3}, headers={"X-Request-Id": "night-1"})
    get(service.client, answer.json()["id"], wait=30)
    service.client.get("/v1/jobs/%0ajob")
    service.stop()

    lines = {line["message"]: line for line in service.lines}
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in service.lines)
    posted = lines["POST /v1/jobs 201"]
    assert (posted["request_id"], posted["tenant"], posted["level"]) == ("night-1", "default", "info")
    assert posted["sent"] > posted["received"] > 20
    assert 0 < posted["seconds"] < 30
    assert lines["GET /v1/jobs/%0ajob 404"]["level"] == "info"
    assert lines["GET /v1/workers 200"]["level"] == "debug"
    assert lines["starting; number of trainers: 1"]["worker"].startswith("wrk_")


def test_no_secret_is_in_any_log(service: Logged) -> None:
    secrets = [MASTER, "s3cret-guess"]
    database = Database(f"sqlite:///{service.home / 'bestepoch.db'}")
    with database.transaction() as connection:
        secrets += [keys.create(connection, "other", scope)[1] for scope in Scope]
        keys.revoke(connection, keys.find(connection)[0].id)
    database.close()
    for secret in secrets:
        for scheme in ("Bearer ", "Basic ", ""):
            headers = {"Authorization": f"{scheme}{secret}"}
            service.client.post("/v1/jobs", json=REFERENCE, headers=headers)
            service.client.get(f"/v1/jobs?key={secret}", headers=headers)
            service.client.post("/v1/jobs", content=b"{", headers=headers)
    job = submit(service.client, {"data": {"kind": "synthetic"}, "max_epochs": 1})
    get(service.client, job, wait=30)
    service.client.delete(f"/v1/jobs/{job}")
    service.stop()

    written = b"".join(file.read_bytes() for file in [service.file, *service.home.glob("logs/*")])
    assert len(service.lines) > 40
    for secret in secrets:
        assert secret[-20:].encode() not in written


def test_traces_go_where_the_environment_says(tmp_path: Path) -> None:
    received = dict[str, bytes]()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received[self.path] = received.get(self.path, b"") + body
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    migrate(f"sqlite:///{tmp_path / 'bestepoch.db'}")
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        service = Logged(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, BESTEPOCH_TRAINERS="1")
        try:
            wait_until_warm(service.client, service.process)
        finally:
            service.stop()  # which sends what is left
            server.shutdown()
            thread.join()

    assert b"/v1/workers" in received["/v1/traces"]
    assert received["/v1/metrics"]
