"""Gangs of workers: what small jobs lose to the gang of a large one, and the bits of gangs whose ranks are killed.

    python -m benchmarks.gangs [turns] [kills]

On Postgres, with workers in processes of their own, each with one trainer. In each turn (2 by default) three workers
train 200 small jobs, none of them in an array: alone, with a further job that takes one device, and with the same job
on two devices. Then two workers train a job on two devices, calmly and with a rank killed at random (5 times).
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.job import Job
from service.domain.status import Status
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.store import checkpoints, workers
from service.store.engine import Database, migrate
from service.store.jobs import jobs
from service.store.schema import jobs as table
from tests.databases import postgres_database, postgres_server
from tests.processes import children, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL_JOBS, BEFORE = 200, 20  # small jobs, and how many have ended when the large one is submitted
GANG_SECONDS = 10.0
SECONDS = 170.0  # of a turn, at most
SMALL: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 2_000}, "max_epochs": 12, "early_stopping": None}
LARGE: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 4_000, "features": 20},
    "architecture": {"kind": "mlp", "hidden": [128, 128]},
    "batch_size": 256,
    "max_epochs": 10,
    "early_stopping": None,
    "priority": 1,
}
LONG = LARGE | {"max_epochs": 60, "parallel": {"devices": 2}}


def main() -> None:
    given = [int(number) for number in sys.argv[1:]]
    turns, kills = [*given, *(2, 5)[len(given) :]]
    with postgres_server() as server:
        lost: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(turns):
            alone, _, _ = train(server, 0)
            for devices in (1, 2) if turn % 2 else (2, 1):
                seconds, waited, trained = train(server, devices)
                lost[devices].append(seconds / alone - 1)
                took = (
                    f"alone {alone:.1f} s, with a job on {devices} devices {seconds:.1f} s ({seconds / alone - 1:+.1%})"
                )
                began = f"it began after {waited:.1f} s of {GANG_SECONDS:.0f} and took {trained:.1f} s"
                print(f"{SMALL_JOBS} small jobs {took}; {began}", flush=True)
        for devices, each in lost.items():
            if each:
                print(f"small jobs lose {statistics.median(each):.1%} to a job on {devices} devices (median)")
        if kills:
            with team(server, 2) as database:
                compare(database, kills)


def train(server: str, devices: int) -> tuple[float, float, float]:
    """Seconds from the first submission to the last small job's end, and those that the large job waited and took.

    `devices`: of the large job; 0: there is none.
    """
    with team(server, 3) as database:
        began = time.time()
        small = [submit(database, SMALL) for _ in range(SMALL_JOBS)]
        large = None
        if devices:
            until(lambda: ended(database) >= BEFORE)
            large = submit(database, LARGE | {"parallel": {"devices": devices} if devices > 1 else None})
        until(lambda: ended(database) >= SMALL_JOBS + (large is not None))
        found = {job.id: job for job in (read(database, job_id) for job_id in small)}
        assert all(job.status is Status.succeeded for job in found.values())
        seconds = max(job.finished_at.timestamp() for job in found.values() if job.finished_at) - began
        if large is None:
            return seconds, 0.0, 0.0
        job = read(database, large)
        assert (job.status, job.attempt) == (Status.succeeded, 1), job
        assert job.started_at is not None
        assert job.finished_at is not None
        waited, trained = job.started_at - job.created_at, job.finished_at - job.started_at
        return seconds, waited.total_seconds(), trained.total_seconds()


def compare(database: Database, kills: int) -> None:
    """Print how many runs with a kill have the bits of the calm one."""
    began, drawn = time.monotonic(), random.Random(0)
    calm = finished(database, submit(database, LONG))
    print(f"a job on 2 devices takes {time.monotonic() - began:.1f} s", flush=True)
    same = 0
    for run in range(kills):
        job_id = submit(database, LONG)
        killed, again = kill_a_rank(database, job_id, drawn)
        equal = finished(database, job_id) == calm
        same += equal
        what = "the same bits" if equal else "OTHER BITS"
        print(f"{run + 1}: {killed}, next attempt after {again:.1f} s, {what}", flush=True)
    print(f"the same checkpoint in {same} of {kills} runs")


def kill_a_rank(database: Database, job_id: str, drawn: random.Random) -> tuple[str, float]:
    """Which rank was killed when, and the seconds until the next attempt."""
    epoch = drawn.randrange(5, 45)
    until(lambda: read(database, job_id).progress.epoch >= epoch)
    leader = read(database, job_id).worker
    with database.reading() as connection:
        there = {worker.id: worker.pid for worker in workers.find(connection)}
    victim = drawn.choice(sorted(there))
    os.kill(trainer_of(there[victim]), signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: read(database, job_id).attempt > 1)
    who = "leader" if victim == leader else "follower"
    return f"{who} killed after epoch {epoch}", time.monotonic() - killed


def finished(database: Database, job_id: str) -> str:
    """The SHA-256 of the job's best checkpoint when it has ended."""
    until(lambda: read(database, job_id).finished_at)
    assert read(database, job_id).status is Status.succeeded
    with database.reading() as connection:
        return checkpoints.get(connection, job_id, CheckpointKind.best).sha256


def trainer_of(worker: int) -> int:
    """The trainer's process: the fork server's child."""
    servers = [pid for pid in children(worker) if "forkserver" in command(pid)]
    (found,) = (pid for pid in servers if any(pid in children(server) for server in servers))
    return found


@contextmanager
def team(server: str, count: int) -> Iterator[Database]:
    """A database with so many warm workers."""
    with tempfile.TemporaryDirectory() as home, postgres_database(server) as url, ExitStack() as ended:
        migrate(url)
        environment = {
            **os.environ,
            "BESTEPOCH_HOME": str(Path(home)),
            "BESTEPOCH_DATABASE_URL": url,
            "BESTEPOCH_TRAINERS": "1",
            "BESTEPOCH_TRAINER_THREADS": "1",
            "BESTEPOCH_ARRAY_WIDTH": "1",
            "BESTEPOCH_SAVE_SECONDS": "0.5",
            "BESTEPOCH_GANG_SECONDS": str(GANG_SECONDS),
            "BESTEPOCH_LOG_LEVEL": "error",
        }
        database = Database(url)
        ended.callback(database.close)
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-m", "service.cli", "worker"], env=environment)
            ended.callback(process.wait)
            ended.callback(process.terminate)
        until(lambda: trainers(database) == count)
        yield database


def trainers(database: Database) -> int:
    with database.reading() as connection:
        return workers.live(connection).trainers("cpu")


def submit(database: Database, given: dict[str, Any]) -> str:
    spec = JobSpec.model_validate(given)
    assert isinstance(spec.data, SyntheticData)
    row = jobs.new_row(resolve(spec, profile_of(spec.data)), DEFAULT_TENANT)
    with database.transaction(DEFAULT_TENANT) as connection:
        jobs.add(connection, [row])
    return str(row["id"])


def ended(database: Database) -> int:
    """How many jobs have ended."""
    with database.reading() as connection:
        return connection.scalar(select(func.count()).where(table.c.finished_at.is_not(None))) or 0


def read(database: Database, job_id: str) -> Job:
    with database.reading() as connection:
        return jobs.get(connection, job_id)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
