"""Sweeps over HTTP, from POST to the best checkpoint's last byte.

    python -m benchmarks.sweep [repetitions]

Each job: 10,000 x 20 rows, 8,000 of which train, 10 epochs, batch 64, MLP 20-64-32-2 with batch norm, as in
engine.py. The service uses every core.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.local_service import running_service

if TYPE_CHECKING:
    import httpx2

EPOCHS, SIZES = 10, (64, 256)
BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 10_000, "features": 20},
    "max_epochs": EPOCHS,
    "early_stopping": None,
}


def main() -> None:
    medians = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    for size, seconds in medians.items():
        print(f"sweep of {size:3d} over HTTP: {seconds:6.2f} s")
    small, large = (medians[size] / size for size in SIZES)
    print(f"a job of the larger sweep takes {large / small:.2f} times a job of the smaller one")


def measure(repetitions: int) -> dict[int, float]:
    """Seconds of a sweep of each size: medians of so many, each on a fresh service."""
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn in range(repetitions):
        with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
            time_sweep(client, 8, seed=900_000)  # warm
            for size in SIZES:
                seconds[size].append(time_sweep(client, size, seed=turn * 1_000))
    return {size: statistics.median(values) for size, values in seconds.items()}


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
