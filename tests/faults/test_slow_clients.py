"""A thousand streaming clients, a hundred that do not read, fifty that send incomplete requests."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from pathlib import Path

import pytest

from service.api.connections import slow_clients
from tests.faults.teams import Team
from tests.faults.test_resuming import ended
from tests.processes import linux_only, submit, until

FOLLOWERS, DEAF, SLOW = 900, 100, 50


def memory(pid: int) -> int:
    """Resident memory of a process in bytes."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1_024


class Crowd:
    """All clients, in one event loop."""

    def __init__(self, team: Team, live: str, long: str) -> None:
        self.team, self.live, self.long = team, live, long
        self.heard = [0] * FOLLOWERS
        self.gone = 0

    def request(self, job_id: str) -> bytes:
        return f"GET /v1/jobs/{job_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    async def follow(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.team.port)
        writer.write(self.request(self.live))
        try:
            while data := await reader.read(2**16):
                self.heard[number] += data.count(b"event: epoch")
        finally:
            writer.close()

    async def annoy(self, first: bytes, then: bytes) -> None:
        """Say something, then little by little, never read; until the server has had enough."""
        loop = asyncio.get_running_loop()
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        with deaf:
            await loop.sock_connect(deaf, ("127.0.0.1", self.team.port))
            await loop.sock_sendall(deaf, first)
            while True:
                await asyncio.sleep(1)
                try:
                    await loop.sock_sendall(deaf, then)
                except OSError:
                    self.gone += 1
                    return

    async def ask(self, seconds: float) -> list[float]:
        """How long /healthz takes, again and again."""
        own = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", self.team.port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
            own.append(time.monotonic() - began)
            await asyncio.sleep(0.2)
        return own

    async def gather(self) -> tuple[list[float], list[float], list[int], int]:
        """Seconds of /healthz beside the followers alone and beside all, epochs that each follower heard, memory."""
        async with asyncio.TaskGroup() as group:
            everybody = [group.create_task(self.follow(number)) for number in range(FOLLOWERS)]
            await asyncio.sleep(10)
            beside_followers = await self.ask(10)
            for _ in range(DEAF):
                everybody.append(group.create_task(self.annoy(self.request(self.long), b"")))
            for _ in range(SLOW):
                everybody.append(group.create_task(self.annoy(b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"x")))
            await asyncio.sleep(10)
            asked = await self.ask(slow_clients.READ_SECONDS + 10)
            before = list(self.heard)
            await asyncio.sleep(10)
            more = [now - then for now, then in zip(self.heard, before, strict=True)]
            used = memory(self.team.api.pid)
            for each in everybody:
                each.cancel()
        return beside_followers, asked, more, used


@linux_only
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_thousand_streams_and_slow_readers_do_not_slow_other_requests(team: Team) -> None:
    small = {"data": {"kind": "synthetic", "rows": 50, "features": 2}, "architecture": {"hidden": [2]}}
    long = ended(team.client, submit(team.client, {**small, "early_stopping": None, "max_epochs": 20_000}))["id"]
    slow_epochs = {"kind": "synthetic", "rows": 200_000}  # one or two a second
    live = submit(team.client, {"data": slow_epochs, "early_stopping": None, "max_epochs": 100_000})
    team.client.get("/healthz")
    before = memory(team.api.pid)

    crowd = Crowd(team, live, long)
    beside_followers, asked, more, used = asyncio.run(crowd.gather())

    usual, median = statistics.median(beside_followers), statistics.median(asked)
    print(f"/healthz {median:.3f} s, {usual:.3f} s without slow clients; {(used - before) / 1e6:.0f} MB more")
    # The machine's speed cancels out; a server that waits for its slow clients takes seconds.
    assert (usual < 5, median < 2 * usual + 0.5) == (True, True)
    assert min(more) > 0, "a stream has stalled"
    assert used - before < 400e6
    assert crowd.gone >= SLOW
    until(lambda: len(list(Path(f"/proc/{team.api.pid}/fd").iterdir())) < 100, 60)  # all have been noticed to be gone
