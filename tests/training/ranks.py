"""Ranks of a job as threads of this process, each with a process group of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.distributed import HashStore

from service.data.preprocess.dataset import prepare
from service.spec.resolve import Resolved
from service.training.loop import ResumePoint, Training
from service.training.parallel import ParallelTrainer
from service.training.ranks import Ranks, connect
from tests.training.jobs import CPU, Observed, evaluated, observe

T = TypeVar("T")
LOOPBACK = "127.0.0.1"


def on_ranks(size: int, work: Callable[[Ranks], T], by_memory: bool = True) -> list[T]:
    """What `work` returns on each rank; by shared memory, or by gloo."""
    store = HashStore()

    def rank(number: int) -> T:
        torch.set_num_threads(1)
        with connect(store, number, size, CPU, LOOPBACK, lambda: None, by_memory=by_memory) as ranks:
            return work(ranks)

    with ThreadPoolExecutor(size) as pool:
        return [each.result() for each in [pool.submit(rank, number) for number in range(size)]]


def train_on(devices: int, job: Resolved, resume: ResumePoint | None = None, by_memory: bool = True) -> list[Observed]:
    """The job after each of its epochs, trained by so many ranks."""
    data = prepare(job.preparation, None)

    def work(ranks: Ranks) -> list[Observed]:
        if not ranks.leads:
            ParallelTrainer(job, data, CPU, ranks).follow(lambda: None)
            return []
        training = Training([job], data, CPU, [resume], ranks=ranks)
        seen = []
        for reports in training:
            best = evaluated(training, reports)
            seen.append(observe(training, reports[0], best.get(0)))
        return seen

    return on_ranks(devices, work, by_memory)[0]
