"""Seconds per job and epoch of the engine, alone and in arrays, against plain training loops; one thread each.

    python -m benchmarks.engine [repetitions]

8,000 x 20 rows, batch 64, MLP 20-64-32-2 with batch norm (scikit-learn's has none), Adam. All take turns; medians are
compared. An epoch includes an evaluation of 2,000 validation rows in all of them, ours with every metric.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from service.data.preprocess.dataset import prepare
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.training.loop import Training
from service.training.models import build

WIDTHS = (1, 4, 16, 64)
CPU = torch.device("cpu")
SPEC = JobSpec.model_validate(
    {
        "data": {"kind": "synthetic", "rows": 10_000, "features": 20},
        "batch_size": 64,
        "max_epochs": 1_000_000,
        "early_stopping": None,
    }
)
assert isinstance(SPEC.data, SyntheticData)
RESOLVED = resolve(SPEC, profile_of(SPEC.data))
DATA = prepare(RESOLVED.preparation, None)
TRAIN = torch.from_numpy(DATA.train.x), torch.from_numpy(DATA.train.y)
VALIDATION = torch.from_numpy(DATA.validation.x), torch.from_numpy(DATA.validation.y)


Loops = dict[str, tuple[int, Iterator[None]]]
"""The number of jobs that each contender trains, and its iterator: one epoch per step."""
LOADER, SLICES, SCIKIT = "DataLoader loop, Adam", "loop over sliced tensors, fused Adam", "scikit-learn MLPClassifier"


def main() -> None:
    medians = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
    print_table(medians)


def measure(repetitions: int) -> dict[str, float]:
    """Seconds per job and epoch of each contender: medians of so many turns."""
    torch.set_num_threads(1)
    threadpool_limits(1)  # scikit-learn
    loops: Loops = {
        LOADER: (1, by_loader()),
        SLICES: (1, by_slices()),
        SCIKIT: (1, by_scikit_learn()),
        **{f"bestepoch, array of {width}": (width, ours(width)) for width in WIDTHS},
    }
    return take_turns(loops, repetitions)


def take_turns(loops: Loops, repetitions: int) -> dict[str, float]:
    """Seconds per job of each loop's turn: medians of so many."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _, loop in loops.values():
        next(loop)  # warm up
    for _ in range(repetitions):
        for name, (jobs, loop) in loops.items():
            started = time.perf_counter()
            next(loop)
            seconds[name].append((time.perf_counter() - started) / jobs)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(seconds: dict[str, float]) -> None:
    """Each contender against the three loops."""
    print(f"{'':38s} ms a job and epoch   of DataLoader   of slices   of scikit-learn")
    for name, own in seconds.items():
        shares = [own / seconds[other] for other in (LOADER, SLICES, SCIKIT)]
        print(f"{name:38s}{own * 1000:19.2f}{shares[0]:16.3f}{shares[1]:12.3f}{shares[2]:18.3f}")
    print(f"torch {torch.__version__}, one thread each; the service: {os.cpu_count()} trainers")


def ours(width: int, device: torch.device = CPU) -> Iterator[None]:
    jobs = [replace(RESOLVED, spec=RESOLVED.spec.model_copy(update={"seed": seed})) for seed in range(width)]
    for _ in Training(jobs, DATA, device):
        yield


def by_slices(device: torch.device = CPU) -> Iterator[None]:
    model, criterion = build(RESOLVED.graph).to(device), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=SPEC.optimizer.lr, fused=True)
    x, y, *validation = (rows.to(device) for rows in (*TRAIN, *VALIDATION))
    while True:
        order = torch.randperm(len(x), device=device)
        batches = zip(torch.split(x[order], 64), torch.split(y[order], 64), strict=True)
        epoch(model, criterion, optimizer, batches, validation)
        yield


def by_loader() -> Iterator[None]:
    model, criterion = build(RESOLVED.graph), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=SPEC.optimizer.lr)
    batches = DataLoader(TensorDataset(*TRAIN), batch_size=64, shuffle=True)
    while True:
        epoch(model, criterion, optimizer, batches, VALIDATION)
        yield


def by_scikit_learn() -> Iterator[None]:
    model = MLPClassifier((64, 32), batch_size=64, learning_rate_init=SPEC.optimizer.lr, alpha=0.0)
    while True:
        model.partial_fit(DATA.train.x, DATA.train.y, classes=[0, 1])
        model.predict_proba(DATA.validation.x)
        yield


def epoch(
    model: nn.Module,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Sequence[torch.Tensor]],
    validation: Sequence[torch.Tensor],
) -> None:
    model.train()
    total = torch.zeros((), device=validation[0].device)
    for x, y in batches:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(x)
    model.eval()
    with torch.no_grad():
        criterion(model(validation[0]), validation[1]).item()
    total.item()


if __name__ == "__main__":
    main()
