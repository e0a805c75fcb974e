"""Ranks of a job as threads of this process, each with a process group of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

import torch
from torch.distributed import HashStore

from service.data.preprocess.dataset import prepare
from service.spec.resolve import Resolved
from service.training.loop import ResumePoint, Training
from service.training.parallel import ParallelTrainer
from service.training.ranks import Ranks, connect, host_store, join_store
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


@contextmanager
def in_a_process(by_memory: bool, leads: bool, address: str = "") -> Iterator[tuple[BaseProcess, str]]:
    """One of two ranks as a process that connects, and then does nothing; and the address of the leader's store."""
    context = multiprocessing.get_context("spawn")
    own, other = context.Pipe()
    process = context.Process(target=_idle, args=(other, by_memory, leads, address))
    process.start()
    try:
        yield process, own.recv()
    finally:
        process.kill()
        process.join()


def _idle(pipe: Connection, by_memory: bool, leads: bool, address: str) -> None:
    store, address = host_store(LOOPBACK) if leads else (join_store(address), address)
    pipe.send(address)
    with connect(store, 0 if leads else 1, 2, CPU, LOOPBACK, lambda: None, by_memory=by_memory):
        pipe.recv()


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
