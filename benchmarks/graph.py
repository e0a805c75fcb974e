"""Time of a training epoch of large networks against plain PyTorch loops, with one and two threads.

    python -m benchmarks.graph [repetitions]

The MLP is 100-1024-1024-2 on batches of 256; the CNN has convolutions of 32 and 64 channels on 28 x 28, batches of 64.
Both loops use Adam (fused) on sliced tensors. All take turns; ratios are medians over the turns. Measure on an idle
machine: a loop on two OpenMP threads waits for both of them, and takes many times as long where others run. The chain
of `benchmarks.engine`, alone and in arrays, follows.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import torch
from torch import nn

from benchmarks import engine
from service.data.preprocess.dataset import Prepared, prepare
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.spec.resolved import Resolved
from service.training import shards
from service.training.loop import Training
from service.training.models import build

THREADS = (1, 2)
NETWORKS: dict[str, tuple[int, dict[str, object], int, int]] = {
    "MLP 100-1024-1024-2": (100, {"kind": "mlp", "hidden": [1024, 1024]}, 256, 2_560),
    "CNN 28 x 28, 32-64 channels": (784, {"kind": "cnn", "shape": [1, 28, 28], "channels": [32, 64]}, 64, 640),
}
"""Inputs, architecture, rows of a batch, training rows of an epoch."""


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    print_table(measure(repetitions))
    engine.print_table(engine.measure(repetitions))


def measure(repetitions: int) -> dict[tuple[str, int], tuple[float, float, float]]:
    """By network and number of threads: milliseconds a step of ours and of the loop, and the ratio."""
    return {
        (name, threads): _compare(*_job(*network), threads, repetitions)
        for name, network in NETWORKS.items()
        for threads in THREADS
    }


def print_table(measured: dict[tuple[str, int], tuple[float, float, float]]) -> None:
    print(f"{'':30s} threads   ms a step, bestepoch   plain loop   ratio")
    for (name, threads), (ours, loop, ratio) in measured.items():
        print(f"{name:30s}{threads:8d}{ours:24.2f}{loop:13.2f}{ratio:8.2f}")


def _job(inputs: int, architecture: dict[str, object], batch: int, rows: int) -> tuple[Resolved, Prepared]:
    spec = JobSpec.model_validate(
        {
            "data": {"kind": "synthetic", "rows": rows * 5 // 4, "features": inputs},
            "architecture": architecture,
            "batch_size": batch,
            "max_epochs": 1_000_000,
            "early_stopping": None,
        }
    )
    assert isinstance(spec.data, SyntheticData)
    resolved = resolve(spec, profile_of(spec.data))
    return resolved, prepare(resolved.preparation, None)


def _compare(job: Resolved, data: Prepared, threads: int, repetitions: int) -> tuple[float, float, float]:
    ours, loop = _ours(job, data), by_slices(job, data)
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(repetitions + 1):  # the first warms up
        for contender, own in zip((ours, loop), seconds, strict=True):
            torch.set_num_threads(threads if contender is loop else 1)
            shards.use_threads(threads)
            started = time.perf_counter()
            next(contender)
            if turn:
                own.append(time.perf_counter() - started)
    torch.set_num_threads(1)
    size = job.spec.batch_size
    assert isinstance(size, int)
    steps = len(data.train.y) / size
    times = [statistics.median(own) / steps * 1000 for own in seconds]
    return times[0], times[1], statistics.median(one / other for one, other in zip(*seconds, strict=True))


def _ours(job: Resolved, data: Prepared) -> Iterator[None]:
    for _ in Training([job], data, engine.CPU):
        yield


def by_slices(job: Resolved, data: Prepared) -> Iterator[None]:
    model, criterion = build(job.graph), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=job.spec.optimizer.lr, fused=True)
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
    validation = torch.from_numpy(data.validation.x), torch.from_numpy(data.validation.y)
    size = job.spec.batch_size
    assert isinstance(size, int)
    while True:
        order = torch.randperm(len(x))
        batches = zip(torch.split(x[order], size), torch.split(y[order], size), strict=True)
        engine.epoch(model, criterion, optimizer, batches, validation)
        yield


if __name__ == "__main__":
    main()
