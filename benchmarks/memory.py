"""Peak memory of training against the estimate of `service/spec/limits.py`, in a fresh trainer per job.

python -m benchmarks.memory
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from examples.local_service import running_service
from tests.processes import get, submit, trainers_of

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
}


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Print a line a job."""
    for name, spec in JOBS.items():
        with tempfile.TemporaryDirectory() as home, running_service(Path(home), BESTEPOCH_TRAINERS="1") as client:
            expected = client.post("/v1/jobs/plan", json=spec).raise_for_status().json()["memory_bytes"]
            trainer = trainers_of(client)[0]
            job = get(client, submit(client, {**spec, "max_epochs": 2}), wait=60)
            assert job["status"] == "succeeded", job
            taken = peak(trainer)
        print(f"{name}: expected {expected / 2**20:,.0f} MiB, taken {taken / 2**20:,.0f}: {taken / expected:.2f}")


if __name__ == "__main__":
    main()
