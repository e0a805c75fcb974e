"""The documented upgrade, from the last release to this version, under load: no request and no job is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
from alembic import command
from sqlalchemy import text

from service.settings import free_port
from service.store import migrations
from service.store.engine import Database, migrate
from tests.e2e.test_last_release import ITS_REVISION, ROOT, last_release  # noqa: F401  (a fixture)
from tests.examples import postgres_at_least
from tests.processes import HTTP, until

TINY = {"data": {"kind": "synthetic", "rows": 100}, "max_epochs": 3, "early_stopping": None}


class LoadBalancer:
    """Sends each request to one of the APIs that are listed; a new connection for each."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.failed: list[str] = []
        self.accepted: dict[int, str] = {}
        self.over = threading.Event()

    def post_and_poll(self, client: int) -> None:
        """Submit jobs and read them, until it is over."""
        number = client * 100_000
        while not self.over.is_set():
            answer = self._send("POST", "/v1/jobs", json={**TINY, "seed": number})
            if answer is not None:
                self.accepted[number] = answer.json()["id"]
                self._send("GET", f"/v1/jobs/{self.accepted[number]}")
            number += 1
            time.sleep(0.05)

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        url = random.choice(self.urls)
        try:
            return httpx2.request(method, url + path, timeout=30, **HTTP, **options).raise_for_status()
        except httpx2.HTTPError as error:
            self.failed.append(f"{method} {url}{path}: {error!r}")
            return None


@contextmanager
def process(code: Path, home: Path, url: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the service that runs this code."""
    settings = {"HOME": str(home), "DATABASE_URL": url, "TRAINERS": "1", "LOG_LEVEL": "warning"}
    environment = {**os.environ, "PYTHONPATH": str(code), **{f"BESTEPOCH_{k}": v for k, v in settings.items()}}
    started = subprocess.Popen([sys.executable, "-m", "service.cli", *arguments], cwd=code, env=environment)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
        started.wait(60)


@contextmanager
def api(code: Path, home: Path, url: str, *more: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An API that is ready: its address and its process."""
    port = free_port("127.0.0.1")
    with process(code, home, url, "api", "--port", f"{port}", *more) as started:
        until(lambda: is_ready(f"http://127.0.0.1:{port}"), 60)
        yield f"http://127.0.0.1:{port}", started


def is_ready(url: str) -> bool:
    with suppress(httpx2.TransportError):
        return httpx2.get(f"{url}/readyz", **HTTP).status_code == 200
    return False


def ready_workers(url: str) -> int:
    return sum(worker["device"] == "cpu" for worker in httpx2.get(f"{url}/v1/workers", **HTTP).json()["data"])


@postgres_at_least
def test_an_upgrade_under_load_loses_no_request_and_no_job(
    last_release: Path,  # noqa: F811
    blank_database_url: str,
    tmp_path: Path,
) -> None:
    url, balancer = blank_database_url, LoadBalancer()
    database = Database(url)
    with database.transaction() as connection:
        config = migrations.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, ITS_REVISION)

    with ExitStack() as stack:
        old_api, old = stack.enter_context(api(last_release, tmp_path, url))
        old_worker = stack.enter_context(process(last_release, tmp_path, url, "worker"))
        until(lambda: ready_workers(old_api) == 1, 60)
        balancer.urls = [old_api]
        clients = [threading.Thread(target=balancer.post_and_poll, args=[client]) for client in range(3)]
        for client in clients:
            client.start()
        until(lambda: len(balancer.accepted) > 20)

        migrate(url)  # 1. the schema
        new_api, _ = stack.enter_context(api(ROOT, tmp_path, url, "--processes", "2"))  # 2. the API
        balancer.urls = [old_api, new_api]
        both = len(balancer.accepted) + 30
        until(lambda: len(balancer.accepted) > both)
        balancer.urls = [new_api]
        time.sleep(1)  # until the load balancer's last requests are answered
        old.send_signal(signal.SIGTERM)
        assert old.wait(30) == 0
        stack.enter_context(process(ROOT, tmp_path, url, "worker"))  # 3. the workers
        until(lambda: ready_workers(new_api) == 2, 60)
        old_worker.send_signal(signal.SIGTERM)
        assert old_worker.wait(60) == 0
        alone = len(balancer.accepted) + 20
        until(lambda: len(balancer.accepted) > alone)
        balancer.over.set()
        for client in clients:
            client.join(60)
        until(lambda: httpx2.get(f"{new_api}/v1/usage", **HTTP).json()["waiting_jobs"]["used"] == 0, 120)
        until(lambda: httpx2.get(f"{new_api}/v1/usage", **HTTP).json()["running_jobs"]["used"] == 0, 60)

    with database.reading() as connection:
        ended = connection.execute(text("SELECT status, failures, count(*) FROM jobs GROUP BY status, failures")).all()
    database.close()
    assert balancer.failed == []
    assert [tuple(row) for row in ended] == [("succeeded", 0, len(balancer.accepted))]
    assert len(set(balancer.accepted.values())) == len(balancer.accepted)
