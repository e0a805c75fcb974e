"""Seconds per epoch of one job, against two loops written by hand; one thread each.

    python -m benchmarks.engine [repetitions]

8,000 x 20 rows, batch 64, MLP 20-64-32-2 with batch norm, Adam. The three take turns; medians are compared.
A training epoch includes the loop's evaluation of 2,000 validation rows, in all three.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from service.data.prepare import prepare
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.training.loop import train
from service.training.models import build

SPEC = JobSpec.model_validate(
    {
        "data": {"kind": "synthetic", "rows": 10_000, "features": 20},
        "batch_size": 64,
        "max_epochs": 1_000_000,
        "early_stopping": None,
    }
)
RESOLVED = resolve(SPEC, profile_of(SPEC.data))
DATA = prepare(RESOLVED, None)
TRAIN = torch.from_numpy(DATA.train.x), torch.from_numpy(DATA.train.y)
VALIDATION = torch.from_numpy(DATA.validation.x), torch.from_numpy(DATA.validation.y)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    loops = {"bestepoch": ours(), "sliced tensors, fused Adam": sliced(), "DataLoader, Adam": loader()}
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        next(loop)  # warm up
    for _ in range(repetitions):
        for name, loop in loops.items():
            started = time.perf_counter()
            next(loop)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:28s} {median * 1000:7.1f} ms an epoch, {medians['bestepoch'] / median:5.2f} x")
    print(f"medians of {repetitions}, torch {torch.__version__}, one thread; x: bestepoch's share of that loop's time")


def ours() -> Iterator[None]:
    for _ in train([RESOLVED], DATA, torch.device("cpu")):
        yield


def sliced() -> Iterator[None]:
    model, criterion = build(RESOLVED.layers), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=SPEC.optimizer.lr, fused=True)
    x, y = TRAIN
    while True:
        order = torch.randperm(len(x))
        x_epoch, y_epoch = x[order], y[order]
        batches = zip(x_epoch.split(64), y_epoch.split(64), strict=True)
        _epoch(model, criterion, optimizer, batches)
        yield


def loader() -> Iterator[None]:
    model, criterion = build(RESOLVED.layers), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=SPEC.optimizer.lr)
    batches = DataLoader(TensorDataset(*TRAIN), batch_size=64, shuffle=True)
    while True:
        _epoch(model, criterion, optimizer, batches)
        yield


def _epoch(model: nn.Module, criterion: Callable, optimizer: torch.optim.Optimizer, batches: object) -> None:
    model.train()
    total = torch.zeros(())
    for x, y in batches:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(x)
    model.eval()
    with torch.no_grad():
        criterion(model(VALIDATION[0]), VALIDATION[1]).item()
    total.item()


if __name__ == "__main__":
    main()
