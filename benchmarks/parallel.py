"""Time of a training epoch of one job on several devices (processes of one thread) against one device.

    python -m benchmarks.parallel [devices] [repetitions] [batch size]

The network is 100-1024-1024-2 on batches of 256, as in `benchmarks.graph`, with batch normalization `local`. One
device, several that exchange by gloo, and several by shared memory take turns; the ratios are those of the medians.
Measure on an idle machine with as many cores as devices.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from contextlib import ExitStack

import torch

from service.data.preprocess.dataset import prepare
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.spec.resolved import Resolved
from service.training.loop import Training
from service.training.parallel import ParallelTrainer
from service.training.ranks import connect, host_store, join_store

LOOPBACK = "127.0.0.1"
CPU = torch.device("cpu")


def main() -> None:
    given = [int(each) for each in sys.argv[1:]]
    devices, repetitions, batch = (*given, *(2, 15, 256)[len(given) :])
    for name, times in zip(
        ("of the clock", "of the leader's processor"), measure(devices, repetitions, batch), strict=True
    ):
        alone, by_gloo, by_memory = times
        print(f"ms {name} an epoch of batches of {batch}: one device {alone * 1e3:.1f}, {devices} devices", end=" ")
        print(f"by gloo {by_gloo * 1e3:.1f} ({by_gloo / alone:.2f})", end=", ")
        print(f"by shared memory {by_memory * 1e3:.1f} ({by_memory / alone:.2f})")


def measure(devices: int, repetitions: int, batch: int) -> tuple[list[float], list[float]]:
    """Median seconds of an epoch on one device, on several by gloo, and on several by shared memory.

    Of the clock, and of this process's processor time.
    """
    several = job(devices, batch)
    data = prepare(several.preparation, None)
    with ExitStack() as exits:
        stores = []
        for by_memory in (False, True):
            store, address = host_store(LOOPBACK)
            start_followers(address, devices, batch, by_memory, exits)
            stores.append((store, by_memory))
        use_core(0)  # after the followers, which inherit it
        contenders = [Training([job(None, batch)], data, CPU)]
        for store, by_memory in stores:
            ranks = connect(store, 0, devices, CPU, LOOPBACK, lambda: None, by_memory=by_memory)
            contenders.append(Training([several], data, CPU, ranks=exits.enter_context(ranks)))
        seconds: list[list[tuple[float, float]]] = [[] for _ in contenders]
        for turn in range(repetitions + 1):  # the first warms up
            for training, own in zip(contenders, seconds, strict=True):
                started, used = time.perf_counter(), time.process_time()
                training.epoch()
                if turn:
                    own.append((time.perf_counter() - started, time.process_time() - used))
    clock, processor = ([statistics.median(each[kind] for each in own) for own in seconds] for kind in (0, 1))
    return clock, processor


def use_core(rank: int) -> None:
    """One thread on a core of its own: under load, Linux wakes a rank on the core of the one that it waited for."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})


def start_followers(address: str, devices: int, batch: int, by_memory: bool, exits: ExitStack) -> None:
    """Start the other ranks, which end when the leader leaves."""
    context = multiprocessing.get_context("spawn")
    for rank in range(1, devices):
        follower = context.Process(target=follow, args=(address, rank, devices, batch, by_memory))
        follower.start()
        exits.callback(follower.join)


def follow(address: str, rank: int, devices: int, batch: int, by_memory: bool) -> None:
    """A follower's process."""
    use_core(rank)
    resolved = job(devices, batch)
    with connect(join_store(address), rank, devices, CPU, LOOPBACK, lambda: None, by_memory=by_memory) as ranks:
        ParallelTrainer(resolved, prepare(resolved.preparation, None), CPU, ranks).follow(lambda: None)


def job(devices: int | None, batch: int) -> Resolved:
    spec = JobSpec.model_validate(
        {
            "data": {"kind": "synthetic", "rows": 3_200, "features": 100},
            "architecture": {"kind": "mlp", "hidden": [1024, 1024]},
            "batch_size": batch,
            "max_epochs": 1_000_000,
            "early_stopping": None,
            "parallel": devices and {"devices": devices},
        }
    )
    assert isinstance(spec.data, SyntheticData)
    return resolve(spec, profile_of(spec.data))


if __name__ == "__main__":
    main()
