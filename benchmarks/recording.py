"""Overhead of recording history and checkpoints: a sweep of 64 jobs through a trainer, against the training alone.

    python -m benchmarks.recording [repetitions]

One trainer in this process, one thread, SQLite with synchronous=FULL; arrays of 16, 10 epochs each (see sweep.py). The
two take turns, array by array, and the median of each array's ratio is what counts.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import torch

from benchmarks.sweep import BASE
from service.artifacts import FolderArtifacts
from service.data.preprocess.dataset import prepare
from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.spec.sweep import SweepSpec
from service.store import sweeps
from service.store.engine import Database, migrate
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from service.training.loop import Training
from service.training.progress import ProgressCounter
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer

JOBS, WIDTH = 64, 16
CPU = torch.device("cpu")


def main() -> None:
    torch.set_num_threads(1)
    ratios = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    print(f"recording adds {statistics.median(ratios) - 1:.1%} to training (median of {len(ratios)} arrays of {WIDTH})")


def measure(repetitions: int) -> list[float]:
    """Each array's time with recording over that of training alone."""
    spec = JobSpec.model_validate(BASE)
    assert isinstance(spec.data, SyntheticData)
    first = resolve(spec, profile_of(spec.data))
    jobs = [replace(first, spec=first.spec.model_copy(update={"seed": seed})) for seed in range(JOBS)]
    data = prepare(first.preparation, None)
    ratios = []
    supervisor, pipe = Pipe()  # a closed end would tell the trainer to stop
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as home:
            url = f"sqlite:///{home}/bestepoch.db"
            migrate(url)
            database = Database(url)
            policy = CheckpointPolicy(10.0, frozenset({"last", "state"}))
            trainer = Trainer(database, FolderArtifacts(Path(home) / "artifacts"), CPU, pipe, ProgressCounter(), policy)
            with database.transaction(DEFAULT_TENANT) as connection:
                sweep = SweepSpec(base=spec, replicates=JOBS)
                new = sweeps.prepare(sweep, [sweeps.SweepJob({}, job) for job in jobs], DEFAULT_TENANT)
                sweeps.create(connection, new, max_queued=JOBS)
            for start in range(0, JOBS, WIDTH):
                with database.transaction() as connection:
                    claims = claim_jobs(connection, Claimant("w", {"cpu"}, width=WIDTH, trainers=1), seconds=600)
                recorded = seconds(trainer.run, claims)
                alone = seconds(lambda *job: list(Training(*job)), jobs[start : start + WIDTH], data, CPU)
                ratios.append(recorded / alone)
            with database.reading() as connection:
                assert sweeps.find(connection, limit=1)[0].counts[Status.succeeded] == JOBS
            database.close()
    supervisor.close()
    return ratios


def seconds(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
