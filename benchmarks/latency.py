"""POST to the checkpoint's last byte on a warm service, against the lesson's script in a fresh Python process.

    python -m benchmarks.latency [repetitions]

Both do the reference job; they take turns, and medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from examples.local_service import running_service

if TYPE_CHECKING:
    import httpx2

REFERENCE_JOB = {
    "data": {"kind": "synthetic", "rows": 1000, "features": 20, "classes": 2},
    "split": {"validation": 0.2, "shuffle": False},
    "preprocess": {"numeric": "none"},
    "architecture": {"kind": "mlp", "hidden": [64, 32], "batch_norm": True},
    "optimizer": {"kind": "adam", "lr": 0.001},
    "batch_size": "full",
    "max_epochs": 50,
    "early_stopping": {"patience": 5},
}


def main() -> None:
    script, service = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    print(f"script in a fresh process: {script * 1000:7.1f} ms")
    print(f"warm service, over HTTP:   {service * 1000:7.1f} ms")
    print(f"service / script:          1 / {script / service:.1f}")


def measure(repetitions: int) -> tuple[float, float]:
    """Seconds of the script and of the service: medians of so many turns."""
    with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
        time_service(client, seed=1_000)
        pairs = [(time_script(), time_service(client, seed)) for seed in range(repetitions)]
    script, service = (statistics.median(column) for column in zip(*pairs, strict=True))
    return script, service


def time_script() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "benchmarks.lesson"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def time_service(client: httpx2.Client, seed: int) -> float:
    started = time.perf_counter()
    job = client.post("/v1/jobs", json={**REFERENCE_JOB, "seed": seed}).raise_for_status().json()
    job = client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).raise_for_status().json()
    assert job["status"] == "succeeded", job
    checkpoint = client.get(job["best"]["checkpoint"]["download_url"]).raise_for_status().content
    assert len(checkpoint) == job["best"]["checkpoint"]["size_bytes"]
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
