"""A bagged network: 8 folds with piecewise-linear encoding over HTTP, against 8 plain loops, one after another.

    python -m benchmarks.bagging [repetitions]

8,000 x 20 rows, MLP 64-32 with batch norm, batch 64, 10 epochs, 16 bins; from POST to the last byte of the last
checkpoint, on a service with one trainer, and on one with a trainer per core. A plain loop trains the same network on
the same inputs, encoded beforehand: with a DataLoader and Adam, on one thread and on a thread per core, as torch has it
unless told otherwise; and on sliced tensors with fused Adam, on one thread. All take turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import engine, folds
from examples.local_service import running_service
from service.spec.resolved import Resolved
from service.training.models import build

ROWS, BINS, BATCH = 8_000, 16, 64
FIELDS: dict[str, Any] = {"preprocess": {"numeric": "piecewise_linear", "bins": BINS}}
CORES = os.cpu_count() or 1
SERVICES = {"8 folds, one trainer": {"BESTEPOCH_TRAINERS": "1"}, f"8 folds, {CORES} trainers": {}}
LOOPS = {  # threads, and whether on slices with fused Adam
    "8 DataLoader loops, one thread": (1, False),
    f"8 DataLoader loops, {CORES} threads": (CORES, False),
    "8 loops over slices, one thread": (1, True),
}


def main() -> None:
    print_seconds(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3))


def print_seconds(seconds: dict[str, float]) -> None:
    """Each contender, and the services' ratios to the loops."""
    for name, own in seconds.items():
        print(f"{name:48s}{own:8.2f} s")
    for ours in SERVICES:
        ratios = [f"1 / {seconds[name] / seconds[ours]:.1f} of {name}" for name in LOOPS]
        print(f"{ours}: {', '.join(ratios)}")


def measure(repetitions: int) -> dict[str, float]:
    """Seconds of 8 folds: medians of so many turns."""
    torch.set_num_threads(1)
    jobs = [folds.fold_job(ROWS, fold, **FIELDS) for fold in range(1, folds.FOLDS + 1)]
    parts = [(each.train, each.validation) for each in folds.rows_of(jobs)]
    tensors = [tuple((torch.from_numpy(part.x), torch.from_numpy(part.y)) for part in each) for each in parts]
    seconds: dict[str, list[float]] = {name: [] for name in (*SERVICES, *LOOPS)}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(running_service(Path(stack.enter_context(tempfile.TemporaryDirectory())), **own))
            for name, own in SERVICES.items()
        }
        for turn in range(repetitions + 1):  # the first warms up; rows of their own, so that none are cached
            base = {**folds.BASE, "data": folds.data_of(ROWS, turn), **FIELDS}
            for name, client in clients.items():
                started = time.perf_counter()
                folds.sweep(client, {"base": base, "folds": folds.FOLDS})
                seconds[name].append(time.perf_counter() - started)
            for name, (threads, fused) in LOOPS.items():
                torch.set_num_threads(threads)
                started = time.perf_counter()
                for job, (train, validation) in zip(jobs, tensors, strict=True):
                    _loop(job, train, validation, fused)
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def _loop(job: Resolved, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], fused: bool) -> None:
    model, criterion = build(job.graph), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=job.spec.optimizer.lr, fused=fused)
    loader = DataLoader(TensorDataset(*train), batch_size=BATCH, shuffle=True)
    for _ in range(folds.EPOCHS):
        engine.epoch(model, criterion, optimizer, _slices(*train) if fused else loader, validation)


def _slices(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(x))
    return zip(torch.split(x[order], BATCH), torch.split(y[order], BATCH), strict=True)


if __name__ == "__main__":
    main()
