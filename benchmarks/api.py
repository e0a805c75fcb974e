"""Cost of requests, compared with a bare FastAPI route that reads one row, and poll latency while all cores train.

    python -m benchmarks.api

A client of another process keeps 8 connections busy. The bare route is uvicorn with h11 too, a `def` endpoint.
Ratios are medians of rounds that measure one after the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn
from fastapi import FastAPI

from examples.local_service import running_service
from service.settings import free_port
from tests.databases import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 8
SECONDS = 2.0
ROUNDS = 5
STREAMS = 1_000
SPEC: dict[str, Any] = {"data": {"kind": "synthetic"}, "max_epochs": 100, "early_stopping": None}
ENDLESS: dict[str, Any] = {**SPEC, "max_epochs": 1_000_000}
PACED = 50  # polls a second, as many scripts would send them


def main() -> None:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare = stack.enter_context(bare_route(home))
        postgres = stack.enter_context(postgres_server())
        for name, settings in (("SQLite", {}), ("Postgres", {"BESTEPOCH_DATABASE_URL": postgres})):
            if settings:
                migrate(settings)
            with running_service(home / name, **settings) as client:
                measure(name, client, bare)


def wait_for(url: str) -> None:
    """Until it answers."""
    while True:
        try:
            httpx2.get(url)
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return


def measure(name: str, client: httpx2.Client, bare: str) -> None:
    """Print what one service does."""
    service = str(client.base_url).rstrip("/")
    ended = client.post("/v1/jobs", json=SPEC).json()["id"]
    assert client.get(f"/v1/jobs/{ended}", params={"wait": 60}).json()["status"] == "succeeded"
    asked = {
        "poll": get(service, f"/v1/jobs/{ended}"),
        "history of 100 epochs": get(service, f"/v1/jobs/{ended}/history"),
        "page of jobs": get(service, "/v1/jobs?limit=1"),
        "health": get(service, "/healthz"),
    }
    rates: dict[str, list[float]] = {what: [] for what in ("bare", *asked)}
    for _ in range(ROUNDS):
        rates["bare"].append(rate(get(bare, "/job_1")))
        for what, request in asked.items():
            rates[what].append(rate(request))
    for what, found in rates.items():
        costs = median(b / r for b, r in zip(rates["bare"], found, strict=True))
        print(f"{name}, idle: {what}: {median(found):,.0f} a second, {costs:.2f} x the bare route")
    print(f"{name}, idle: {PACED} polls a second: {paced(asked['poll'])}")
    follow(name, client, service)
    for core in range(os.cpu_count() or 1):
        client.post("/v1/jobs", json={**ENDLESS, "batch_size": 32 + core})  # unlike each other: an array each
    time.sleep(5)
    training = client.get("/v1/jobs?status=running").json()["data"]
    print(f"{name}, {len(training)} jobs train: {PACED} polls a second: {paced(asked['poll'])}")
    print(f"{name}, {len(training)} jobs train: bare: {paced(get(bare, '/job_1'))}")
    print(f"{name}, {len(training)} jobs train: polls: {median(rate(asked['poll']) for _ in range(3)):,.0f} a second")
    create = post(service, "/v1/jobs", {**SPEC, "priority": -1})
    print(f"{name}, {len(training)} jobs train: jobs created: {rate(create):,.0f} a second")


def get(base: str, path: str) -> tuple[int, bytes]:
    """(port, request)"""
    port = int(base.rpartition(":")[2])
    return port, f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()


def post(base: str, path: str, body: Any) -> tuple[int, bytes]:
    port, text = int(base.rpartition(":")[2]), json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
    return port, f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text


def rate(request: tuple[int, bytes]) -> float:
    """Answers a second to connections that ask again at once."""
    counts = asyncio.run(_busy(*request))
    return counts / SECONDS


async def _busy(port: int, request: bytes) -> int:
    until = time.perf_counter() + SECONDS

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.perf_counter() < until:
            await _ask(reader, writer, request)
            count += 1
        writer.close()
        return count

    return sum(await asyncio.gather(*(one() for _ in range(CONNECTIONS))))


def paced(request: tuple[int, bytes]) -> str:
    """How long answers take to requests that come evenly."""
    times = sorted(asyncio.run(_paced(*request)))
    return f"median {1e3 * median(times):.1f} ms, p99 {1e3 * times[int(len(times) * 0.99)]:.1f} ms"


async def _paced(port: int, request: bytes, seconds: float = 10.0) -> list[float]:
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    times = list[float]()

    async def one() -> None:
        pair = free.pop() if free else await asyncio.open_connection("127.0.0.1", port)
        began = time.perf_counter()
        await _ask(*pair, request)
        times.append(time.perf_counter() - began)
        free.append(pair)

    tasks, began = list[asyncio.Task[None]](), time.perf_counter()
    for number in range(int(seconds * PACED)):
        await asyncio.sleep(max(0.0, began + number / PACED - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    return times


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 2"), head
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(length.split(b":")[1]))


def follow(name: str, client: httpx2.Client, service: str) -> None:
    """A thousand streams of a job that waits: the memory they take, and how soon all hear of its end."""
    job = client.post("/v1/jobs", json={**SPEC, "device": "cuda"}).json()["id"]  # which nobody here can train
    pid = api_of(int(service.rpartition(":")[2]))
    before = resident(pid)
    seconds = asyncio.run(_follow(*get(service, f"/v1/jobs/{job}/stream"), lambda: _cancel(client, job)))
    after = resident(pid)
    print(f"{name}: {STREAMS:,} streams: {(after - before) / 2**20:.0f} MiB, all told of an end in {seconds:.2f} s")


async def _follow(port: int, request: bytes, end: Any) -> float:
    async def open_one() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await reader.readuntil(b"event: job")
        return reader, writer

    pairs = [await open_one() for _ in range(STREAMS)]
    began = time.perf_counter()
    await asyncio.to_thread(end)
    await asyncio.gather(*(reader.readuntil(b"event: end") for reader, _ in pairs))
    seconds = time.perf_counter() - began
    for _, writer in pairs:
        writer.close()
    return seconds


def _cancel(client: httpx2.Client, job: str) -> None:
    client.post(f"/v1/jobs/{job}/cancel").raise_for_status()


def api_of(port: int) -> int:
    """The process that serves a port, by its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if b"serve" in words and f"{port}".encode() in words:
            return int(path.parent.name)
    raise RuntimeError(f"nobody serves {port}")


def resident(pid: int) -> int:
    """Bytes in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def migrate(settings: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "service.cli", "migrate"], env={**os.environ, **settings}, check=True)


@contextmanager
def bare_route(home: Path) -> Iterator[str]:
    """Its address."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "benchmarks.api", "bare", str(home / "bare.db"), str(port)]
    process = subprocess.Popen(command)
    try:
        wait_for(f"http://127.0.0.1:{port}/job_1")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def serve_bare(file: str, port: int) -> None:
    """The least that a poll could be."""
    app, mine = FastAPI(), threading.local()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, epoch INTEGER)")
        connection.execute("INSERT INTO jobs VALUES ('job_1', 'running', 3)")

    @app.get("/{job_id}")
    def read(job_id: str) -> dict[str, Any]:
        if not hasattr(mine, "connection"):
            mine.connection = sqlite3.connect(file)
        row = mine.connection.execute("SELECT id, status, epoch FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return dict(zip(("id", "status", "epoch"), row, strict=True))

    uvicorn.run(app, port=port, http="h11", log_level="error")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        serve_bare(sys.argv[2], int(sys.argv[3]))
    else:
        main()
