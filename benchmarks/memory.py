"""Peak memory of training against the estimate of `service/spec/limits.py`, in a fresh trainer per job; then the memory
of two trainers that train on the same table, and how soon the second one has its rows.

    python -m benchmarks.memory          # all
    python -m benchmarks.memory shared   # two trainers on the same table
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.local_service import running_service
from tests.processes import get, submit, trainers_of, until

if TYPE_CHECKING:
    import httpx2

IMAGES = {"kind": "synthetic", "rows": 4_000, "features": 784}
CNN = {"kind": "cnn", "shape": [1, 28, 28], "channels": [32, 64]}
JOBS: dict[str, dict[str, Any]] = {
    "small": {"data": {"kind": "synthetic"}},
    "25.5 million parameters, Adam": {
        "data": {"kind": "synthetic", "features": 100},
        "architecture": {"hidden": [5_000, 5_000]},
    },
    "25.5 million parameters, SGD": {
        "data": {"kind": "synthetic", "features": 100},
        "architecture": {"hidden": [5_000, 5_000]},
        "optimizer": {"kind": "sgd"},
    },
    "1,000,000 rows of 50": {
        "data": {"kind": "synthetic", "rows": 1_000_000, "features": 50},
        "architecture": {"hidden": [8]},
        "batch_size": 4_096,
    },
    "a step of 160,000 rows, two layers of 512": {
        "data": {"kind": "synthetic", "rows": 200_000},
        "architecture": {"hidden": [512, 512]},
        "batch_size": "full",
    },
    "CNN, 28 x 28, 32-64 channels, batch 512": {"data": IMAGES, "architecture": CNN, "batch_size": 512},
    "the same in bfloat16": {"data": IMAGES, "architecture": CNN, "batch_size": 512, "precision": "bfloat16"},
    "ResNet, batch 4,096": {
        "data": {"kind": "synthetic", "rows": 20_000, "features": 50},
        "architecture": {"kind": "resnet"},
        "batch_size": 4_096,
    },
    "TabM, 16 heads, batch 1,024": {
        "data": {"kind": "synthetic", "rows": 20_000, "features": 50},
        "architecture": {"kind": "tabm"},
        "batch_size": 1_024,
    },
    "8 folds of 200,000 rows of 50, as one array": {
        "data": {"kind": "synthetic", "rows": 200_000, "features": 50},
        "batch_size": 1_024,
        "split": {"folds": 8},
    },
}


SHARED: dict[str, Any] = {**JOBS["1,000,000 rows of 50"], "max_epochs": 1_000_000, "early_stopping": None}


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def proportional(pid: int) -> int:
    """The memory of a process in bytes, each page divided by the number of processes that share it (PSS)."""
    return sum(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )


def seconds_to_first_epoch(client: httpx2.Client, seed: int) -> float:
    """From the submission of an endless job on the table to its first epoch."""
    started = time.perf_counter()
    job = submit(client, {**SHARED, "seed": seed})
    until(lambda: get(client, job)["progress"]["epoch"] >= 1, 300)
    return time.perf_counter() - started


def print_shared() -> None:
    """Two trainers on one table, one after the other."""
    settings = {"BESTEPOCH_TRAINERS": "2", "BESTEPOCH_ARRAY_WIDTH": "1"}
    with tempfile.TemporaryDirectory() as home, running_service(Path(home), **settings) as client:
        idle = sum(map(proportional, trainers_of(client)))
        seconds = [seconds_to_first_epoch(client, seed) for seed in (0, 1)]
        taken = sum(map(proportional, trainers_of(client)))
    print(f"two trainers on 1,000,000 rows of 50: {taken / 2**20:,.0f} MiB together, {idle / 2**20:,.0f} when idle")
    print(f"the same, first epoch: {seconds[0]:.1f} s after submission, of the second {seconds[1]:.1f} s")


def train_folds(client: httpx2.Client, spec: dict[str, Any]) -> None:
    """Train every fold of this spec's split, as one array."""
    body = {"base": {**spec, "split": {}}, "folds": spec["split"]["folds"]}
    sweep = client.post("/v1/sweeps", json=body).raise_for_status().json()
    while sweep["status"] == "running":
        sweep = client.get(f"/v1/sweeps/{sweep['id']}", params={"wait": 60}).raise_for_status().json()
    assert sweep["counts"]["succeeded"] == sweep["jobs"], sweep


def main() -> None:
    """Print a line a job, then those of two trainers."""
    if sys.argv[1:] == ["shared"]:
        print_shared()
        return
    for name, spec in JOBS.items():
        with tempfile.TemporaryDirectory() as home, running_service(Path(home), BESTEPOCH_TRAINERS="1") as client:
            plan = client.post("/v1/jobs/plan", json=spec).raise_for_status().json()
            trainer = trainers_of(client)[0]
            if "split" in spec:
                expected = plan["array"]["memory_bytes"]
                train_folds(client, {**spec, "max_epochs": 2})
            else:
                expected = plan["memory_bytes"]
                job = get(client, submit(client, {**spec, "max_epochs": 2}), wait=60)
                assert job["status"] == "succeeded", job
            taken = peak(trainer)
        print(f"{name}: expected {expected / 2**20:,.0f} MiB, taken {taken / 2**20:,.0f}: {taken / expected:.2f}")
    print_shared()


if __name__ == "__main__":
    main()
