"""Sweeps over HTTP, from POST to the last checkpoint, against as many runs of a DataLoader loop in one warm process.

    python -m benchmarks.sweep [repetitions]

Each job: 10,000 x 20 rows, 8,000 of which train, 10 epochs, batch 64, MLP 20-64-32-2 with batch norm. The service uses
every core, the loop one thread. The loop's time is that of 4 runs, times the number of jobs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.engine import by_loader
from examples.local_service import running_service

if TYPE_CHECKING:
    import httpx2

EPOCHS, LOOPS, SIZES = 10, 4, (64, 256)
BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 10_000, "features": 20},
    "max_epochs": EPOCHS,
    "early_stopping": None,
}


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    torch.set_num_threads(1)
    loops: list[float] = []
    sweeps: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn in range(repetitions):
        loops.append(time_loop())
        with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
            time_sweep(client, 8, seed=900_000)  # warm
            for size in SIZES:
                sweeps[size].append(time_sweep(client, size, seed=turn * 1_000))
    loop = statistics.median(loops)
    print(f"DataLoader loop, one thread: {loop:6.2f} s a job of {EPOCHS} epochs")
    for size in SIZES:
        sweep = statistics.median(sweeps[size])
        times = loop * size / sweep
        print(f"sweep of {size:3d} over HTTP:       {sweep:6.2f} s, {times:5.1f} times faster than {size} loops")
    small, large = (statistics.median(sweeps[size]) / size for size in SIZES)
    print(f"a job of the larger sweep takes {large / small:.2f} times a job of the smaller one")
    print(f"medians of {repetitions}; {os.cpu_count()} cores, torch {torch.__version__}")


def time_loop() -> float:
    """Seconds of one run of the loop."""
    loop = by_loader()
    started = time.perf_counter()
    for _ in range(EPOCHS * LOOPS):
        next(loop)
    return (time.perf_counter() - started) / LOOPS


def time_sweep(client: httpx2.Client, size: int, seed: int) -> float:
    """Seconds from POST to the last checkpoint's last byte."""
    started = time.perf_counter()
    body = {"base": {**BASE, "seed": seed}, "replicates": size}
    sweep = client.post("/v1/sweeps", json=body).raise_for_status().json()
    while sweep["status"] == "running":
        sweep = client.get(f"/v1/sweeps/{sweep['id']}", params={"wait": 60}).raise_for_status().json()
    assert sweep["counts"]["succeeded"] == size, sweep
    best = sweep["best"]["job"]
    checkpoint = client.get(f"/v1/jobs/{best}/checkpoints/best/download").raise_for_status().content
    assert checkpoint
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
