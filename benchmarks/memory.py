"""Peak memory of training against the estimate of `service/spec/limits.py`, in a fresh trainer per job.

python -m benchmarks.memory
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.local_service import running_service
from tests.processes import get, submit, trainers_of

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


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def train_folds(client: httpx2.Client, spec: dict[str, Any]) -> None:
    """Train every fold of this spec's split, as one array."""
    body = {"base": {**spec, "split": {}}, "folds": spec["split"]["folds"]}
    sweep = client.post("/v1/sweeps", json=body).raise_for_status().json()
    while sweep["status"] == "running":
        sweep = client.get(f"/v1/sweeps/{sweep['id']}", params={"wait": 60}).raise_for_status().json()
    assert sweep["counts"]["succeeded"] == sweep["jobs"], sweep


def main() -> None:
    """Print a line a job."""
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


if __name__ == "__main__":
    main()
