"""Estimated seconds of arrays against measured ones, one thread: what `POST /v1/sweeps/plan` says before anything runs.

    python -m benchmarks.duration

Each array trains a few epochs, so that its start counts little; the estimate is for as many.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import torch

from service.data.preprocess.dataset import prepare
from service.spec.data import DatasetData
from service.spec.duration import START_SECONDS, array_seconds
from service.spec.job import JobSpec
from service.spec.presets import Preset, expand
from service.spec.resolve import profile_of, resolve
from service.spec.resolved import Resolved
from service.spec.sweep import SweepSpec, changed
from service.spec.sweep import expand as jobs_of
from service.training.loop import Training

EPOCHS = 4
TABLES = {"small": (400, 8), "middle": (5_000, 20), "large": (15_000, 60)}
"""Rows and columns."""


def main() -> None:
    torch.set_num_threads(1)
    factors = []
    print(f"{'':34s}{'jobs':>6s}{'estimated s':>14s}{'measured s':>12s}{'factor':>8s}")
    for table, (rows, features) in TABLES.items():
        base = JobSpec.model_validate({"data": {"kind": "synthetic", "rows": rows, "features": features}})
        for name, sweep in sweeps(base).items():
            jobs = resolved(sweep)
            estimated, measured = array_seconds(jobs, EPOCHS) - START_SECONDS, trained(jobs)
            factors.append(estimated / measured)
            print(f"{table + ', ' + name:34s}{len(jobs):6d}{estimated:14.3f}{measured:12.3f}{factors[-1]:8.2f}")
    print(f"median factor {statistics.median(factors):.2f}, from {min(factors):.2f} to {max(factors):.2f}")
    print(f"geometric mean {math.exp(statistics.mean(map(math.log, factors))):.2f}")


def sweeps(base: JobSpec) -> dict[str, SweepSpec]:
    """One network with defaults, an array of 16 of them, and each recipe on its folds."""
    assert not isinstance(base.data, DatasetData)
    best = expand(Preset.best, base, profile_of(base.data))
    found: dict[str, dict[str, Any]] = {"one network": {}, "16 seeds": {"replicates": 16}}
    for number, point in enumerate(best.points, start=1):
        found[f"recipe {number} on {best.folds} folds"] = {"points": [point], "folds": best.folds}
    return {name: SweepSpec(base=base, **fields) for name, fields in found.items()}


def resolved(sweep: SweepSpec) -> list[Resolved]:
    specs = [JobSpec.model_validate(changed(sweep.base, job.changes)) for job in jobs_of(sweep)]
    return [resolve(spec, profile_of(spec.data)) for spec in specs if not isinstance(spec.data, DatasetData)]


def trained(jobs: list[Resolved]) -> float:
    """Seconds of the epochs after the first."""
    training = Training(jobs, [prepare(job.preparation, None) for job in jobs], torch.device("cpu"))
    training.epoch()
    started = time.perf_counter()
    for _ in range(EPOCHS):
        training.epoch()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
