"""A deployment of an API process and workers on one database, for fault injection."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from examples.local_service import wait_until_warm
from service.artifacts import Artifacts, ArtifactsConfig, open_artifacts
from service.maintenance.doctor import Doctor
from service.settings import Settings, free_port
from service.store.engine import Database
from tests.object_store import artifacts_environment
from tests.processes import ENDLESS, HTTP, children, get, submit, until

LEASE = 2.0


@contextmanager
def bestepoch(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one process of the service; at the end it must stop on SIGTERM if it is still running."""
    process = subprocess.Popen([sys.executable, "-m", "service.cli", *arguments], env=environment)
    code = 0
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            code = process.wait(40)
    assert code == 0


class Team:
    """A client of the API, and the processes of the deployment."""

    def __init__(self, url: str, home: Path, **settings: str) -> None:
        self.url, self.home, self.port = url, home, free_port("127.0.0.1")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.api: subprocess.Popen[bytes]
        self.environment = {
            **os.environ,
            "BESTEPOCH_HOME": str(home),
            "BESTEPOCH_DATABASE_URL": url,
            "BESTEPOCH_LEASE_SECONDS": str(LEASE),
            "BESTEPOCH_TRAINERS": "1",
            "BESTEPOCH_LOG_LEVEL": "error",
            **artifacts_environment(home),
            **settings,
        }
        self._processes = ExitStack()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=70.0, **HTTP)

    @contextmanager
    def at_work(self, workers: int = 2) -> Iterator[Team]:
        """All of it started and warm; stopped at the end."""
        with self._processes, closing(self.client):
            self.start_api()
            self.workers = [self.start("worker") for _ in range(workers)]
            if workers:
                wait_until_warm(self.client, self.api, workers=workers)
            yield self

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._processes.enter_context(bestepoch(self.environment, *arguments))

    def start_api(self) -> None:
        """The API, answering."""
        self.api = self.start("api", "--port", str(self.port))
        until(self.answers, 60)

    def answers(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    def running(self, count: int) -> list[dict[str, Any]]:
        """That many jobs under way that never end by themselves, one on each trainer."""
        # other batch sizes, so that they are not trained as one array
        ids = [submit(self.client, {**ENDLESS, "batch_size": 100 + number}) for number in range(count)]
        until(lambda: all(get(self.client, job_id)["progress"]["epoch"] for job_id in ids))
        return [get(self.client, job_id) for job_id in ids]

    def pid_of(self, job: dict[str, Any]) -> int:
        """The process of the worker that has this job."""
        workers = self.client.get("/v1/workers").json()["data"]
        return next(int(worker["pid"]) for worker in workers if worker["id"] == job["worker"])

    def family_of(self, job: dict[str, Any]) -> list[int]:
        """That process and all below it."""
        pid = self.pid_of(job)
        return [pid, *children(pid)]

    def cancel_all(self) -> None:
        """Nothing goes on."""
        for job in self.jobs():
            if job["finished_at"] is None:
                self.client.post(f"/v1/jobs/{job['id']}/cancel")

    def jobs(self) -> list[dict[str, Any]]:
        """Every job."""
        found: list[dict[str, Any]] = []
        after = None
        while True:
            page = self.client.get("/v1/jobs", params={"limit": 100, **({"after": after} if after else {})}).json()
            found, after = found + page["data"], page["next"]
            if after is None:
                return found

    def logs(self) -> str:
        """What trainers have said."""
        return "".join(path.read_text() for path in (self.home / "logs").glob("*"))

    def artifacts(self) -> Artifacts:
        url = self.environment.get("BESTEPOCH_ARTIFACTS_URL", "")
        return open_artifacts(ArtifactsConfig.of(Settings(home=self.home, artifacts_url=url)))

    def problems(self) -> Sequence[str]:
        """Problems that the doctor reports."""
        database = Database(self.url)
        try:
            return [str(each) for each in Doctor(database, self.artifacts()).examine()]
        finally:
            database.close()
