"""A service's processes, found and watched from outside."""

from __future__ import annotations

import ssl
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

ENDLESS: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 2_000},
    "max_epochs": 1_000_000,
    "early_stopping": None,
}

HTTP: dict[str, Any] = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
"""Options of a client of plain HTTP, without certificates: loading them takes 50 ms of processor time."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc, which only Linux has")


def children(pid: int) -> list[int]:
    """Every process below this one, from /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(status.parent.name)
            found += [child, *children(child)]
    return found


def command(pid: int) -> str:
    """Its command line; empty if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def worker_of(client: httpx2.Client) -> int:
    """The supervisor's process id."""
    return int(client.get("/v1/workers").json()["data"][-1]["pid"])


def trainers_of(client: httpx2.Client) -> list[int]:
    """Processes that a forkserver of the supervisor forked; those that it spawned where trainers have GPUs."""
    below = children(worker_of(client))
    servers = [pid for pid in below if "forkserver" in command(pid)]
    spawned = [pid for pid in below if "multiprocessing.spawn" in command(pid)]
    return spawned + [pid for pid in servers if any(pid in children(server) for server in servers)]


def until(condition: Any, seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return result


def submit(client: httpx2.Client, spec: dict[str, Any]) -> str:
    return str(client.post("/v1/jobs", json=spec).json()["id"])


def get(client: httpx2.Client, job_id: str, **params: Any) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}", params=params).json()
    return job


def wait_for_end(client: httpx2.Client, path: str, **options: Any) -> dict[str, Any]:
    """The job or sweep at `path` once it has ended, however busy the machine is; after five minutes, as it is."""
    for _ in range(5):
        found: dict[str, Any] = client.get(path, params={"wait": 60}, **options).json()
        if found["status"] not in ("queued", "running"):
            break
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
