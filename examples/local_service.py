"""A local service for a demo, a test or a benchmark: `bestepoch serve` in a folder, stopped at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2

from service.settings import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 60.0
REQUEST_SECONDS = 660.0  # an export of a large model takes minutes; the service gives up before


@contextmanager
def running_service(home: Path, **settings: str) -> Iterator[httpx2.Client]:
    """Run a new service in `home`, with `settings` in its environment; yields an HTTP client once it can train."""
    port = free_port("127.0.0.1")
    environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_LOG_LEVEL": "warning", **settings}
    key = settings.get("BESTEPOCH_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=REQUEST_SECONDS) as client:
            wait_until_warm(client, process)
            yield client
    finally:
        process.terminate()
        process.wait(40)


def wait_until_warm(
    client: httpx2.Client,
    process: subprocess.Popen[bytes],
    workers: int = 1,
    headers: dict[str, str] | None = None,
) -> None:
    """Wait until that many workers are ready to train; raises RuntimeError if `process` has ended, TimeoutError."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service exited with code {process.returncode}")
        try:
            listed = client.get("/v1/workers", headers=headers).raise_for_status().json()["data"]
            if sum(worker["device"] != "starting" for worker in listed) >= workers:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the service was not ready within {START_SECONDS:.0f} s")
