"""Searches under kills: the decisions, and the best weights of the winner, compared with a calm run.

    python -m benchmarks.search_kills

One halving search 20 times, on one to three workers with one or two trainers each, whose workers and trainers are
killed at random.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.search import pages, state, submitted
from examples.local_service import wait_until_warm
from service.settings import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS, KILLS = 20, 6
BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 6_000, "features": 6},
    "batch_size": 16,
    "max_epochs": 27,
    "early_stopping": None,
}
SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-4, 0.3]},
    "optimizer.kind": {"choice": ["adam", "sgd"]},
    "architecture.hidden": {"choice": [[8], [16, 8]]},
}


def main() -> None:
    body = {"base": BASE, "space": SPACE, "search": {"kind": "halving", "trials": 48, "eta": 3}}
    calm, _ = searched(body, workers=1, trainers=1, kills=None)
    same, killed = 0, 0
    for run, (workers, trainers) in zip(range(RUNS), endlessly([1, 2, 3], [1, 2]), strict=False):
        found, kills = searched(body, workers, trainers, kills=random.Random(run))
        same += found == calm
        killed += kills
        print(f"{workers} workers x {trainers} trainers, {kills} kills: {'same' if found == calm else 'DIFFERS'}")
    print(f"the same decisions and weights in {same} of {RUNS} runs with {killed} kills", flush=True)


def endlessly(first: list[int], second: list[int]) -> Iterator[tuple[int, int]]:
    while True:
        yield from product(first, second)


def searched(
    body: dict[str, Any], workers: int, trainers: int, kills: random.Random | None
) -> tuple[tuple[list[Any], str], int]:
    """(decisions, digest of the winner's weights) of a search, and the number of kills."""
    with tempfile.TemporaryDirectory() as home, Processes(Path(home), workers, trainers).running() as processes:
        client, count = processes.client, 0
        sweep_id = submitted(client, body)
        while (sweep := state(client, sweep_id, wait=0.3))["status"] == "running":
            processes.restart_ended()
            if kills is not None and kills.random() < 0.3 and count < KILLS:
                processes.kill_one(kills)
                count += 1
        names = ("number", "kind", "trial", "rung", "bracket", "point", "value", "epochs", "reason")
        decisions = [[each[name] for name in names] for each in pages(client, f"/v1/sweeps/{sweep_id}/decisions")]
        best = client.get(f"/v1/jobs/{sweep['best']['job']}/checkpoints/best").raise_for_status().json()
        return (decisions, best["sha256"]), count


class Processes:
    """An API and workers in processes of their own, which can be killed; killed workers are started again."""

    def __init__(self, home: Path, workers: int, trainers: int) -> None:
        self._port, self._count = free_port("127.0.0.1"), workers
        self._environment = {
            **os.environ,
            "BESTEPOCH_HOME": str(home),
            "BESTEPOCH_TRAINERS": str(trainers),
            "BESTEPOCH_LEASE_SECONDS": "2",
            "BESTEPOCH_LOG_LEVEL": "error",
        }
        self._workers = list[subprocess.Popen[bytes]]()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=70.0)

    @contextmanager
    def running(self) -> Iterator[Processes]:
        """All of them, until the end."""
        with ExitStack() as ended, self.client:
            self._start("migrate").wait(60)
            api = self._start("api", "--port", str(self._port))
            ended.callback(stop, api)
            self._workers = [self._start("worker") for _ in range(self._count)]
            ended.callback(self._stop_workers)
            wait_until_warm(self.client, api)
            yield self

    def _stop_workers(self) -> None:
        for worker in self._workers:
            stop(worker)

    def restart_ended(self) -> None:
        """Start workers again that have ended, as `bestepoch serve` and process managers do."""
        for place, worker in enumerate(self._workers):
            if worker.poll() is not None:
                print(f"a worker has ended with {worker.returncode}", flush=True)
                self._workers[place] = self._start("worker")

    def kill_one(self, drawn: random.Random) -> None:
        """Kill a worker, which is started again, or one of the processes that it has started."""
        place = drawn.randrange(len(self._workers))
        worker = self._workers[place]
        started = children_of(worker.pid)
        if started and drawn.random() < 0.5:
            kill(drawn.choice(sorted(started)))
            return
        worker.kill()
        worker.wait()
        self._workers[place] = self._start("worker")

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "service.cli", *arguments]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(40)


def children_of(process: int) -> list[int]:
    """The processes that this one has started, and those that they have started."""
    listed = Path(f"/proc/{process}/task/{process}/children")
    try:
        own = [int(child) for child in listed.read_text().split()]
    except OSError:
        return []
    return own + [each for child in own for each in children_of(child)]


def kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:  # it has just ended
        return


if __name__ == "__main__":
    main()
