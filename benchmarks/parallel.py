"""Time of a training epoch of one job on several devices (processes of one thread, gloo) against one device.

    python -m benchmarks.parallel [devices] [repetitions]

The network is 100-1024-1024-2 on batches of 256, as in `benchmarks.graph`, with batch normalization `local`. One device
and several take turns; the ratio is that of the medians. Measure on an idle machine with as many cores as devices.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time

import torch

from service.data.preprocess.dataset import prepare
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.spec.resolved import Resolved
from service.training.loop import Training
from service.training.parallel import ParallelTrainer
from service.training.ranks import Ranks, connect, host_store, join_store

LOOPBACK = "127.0.0.1"
CPU = torch.device("cpu")


def main() -> None:
    devices, repetitions = (int(given) for given in (*sys.argv[1:], *("2", "15")[len(sys.argv) - 1 :]))
    alone, together = measure(devices, repetitions)
    print(
        f"one device {alone * 1e3:.1f} ms an epoch, {devices} devices {together * 1e3:.1f} ms: {together / alone:.2f}"
    )


def measure(devices: int, repetitions: int) -> tuple[float, float]:
    """Median seconds of an epoch on one device and on several."""
    torch.set_num_threads(1)
    store, address = host_store(LOOPBACK)
    context = multiprocessing.get_context("spawn")
    followers = [context.Process(target=follow, args=(address, rank, devices)) for rank in range(1, devices)]
    for follower in followers:
        follower.start()
    one, several = job(None), job(devices)
    data = prepare(one.preparation, None)
    ranks = connect(store, 0, devices, CPU, LOOPBACK, lambda: None)
    seconds: tuple[list[float], list[float]] = ([], [])
    with ranks:
        contenders = Training([one], data, CPU), Training([several], data, CPU, ranks=ranks)
        for turn in range(repetitions + 1):  # the first warms up
            for training, own in zip(contenders, seconds, strict=True):
                started = time.perf_counter()
                training.epoch()
                if turn:
                    own.append(time.perf_counter() - started)
    for follower in followers:
        follower.join()
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def follow(address: str, rank: int, devices: int) -> None:
    """A follower's process."""
    torch.set_num_threads(1)
    resolved = job(devices)
    ranks: Ranks = connect(join_store(address), rank, devices, CPU, LOOPBACK, lambda: None)
    with ranks:
        ParallelTrainer(resolved, prepare(resolved.preparation, None), CPU, ranks).follow(lambda: None)


def job(devices: int | None) -> Resolved:
    spec = JobSpec.model_validate(
        {
            "data": {"kind": "synthetic", "rows": 3_200, "features": 100},
            "architecture": {"kind": "mlp", "hidden": [1024, 1024]},
            "batch_size": 256,
            "max_epochs": 1_000_000,
            "early_stopping": None,
            "parallel": devices and {"devices": devices},
        }
    )
    assert isinstance(spec.data, SyntheticData)
    return resolve(spec, profile_of(spec.data))


if __name__ == "__main__":
    main()
