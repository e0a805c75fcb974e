"""A gang of workers: small jobs make room for it, a killed member only delays it, and one that stops is no crash."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.domain.checkpoint import CheckpointKind
from service.domain.job import Job
from service.domain.status import Status
from service.store import checkpoints, workers
from service.store.engine import Database
from service.store.jobs import actions, rendezvous
from tests.faults.teams import bestepoch
from tests.processes import children, linux_only, until
from tests.specs import REFERENCE
from tests.store.records import job, submit

JOB: dict[str, Any] = {
    **REFERENCE,
    "batch_size": 100,
    "early_stopping": None,
    "max_epochs": 100,
    "parallel": {"devices": 2},
}
SMALL: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 2_000}, "early_stopping": None, "max_epochs": 1_000_000}
LONG = {**JOB, "data": {"kind": "synthetic", "rows": 400_000}, "batch_size": 4}  # an epoch takes a minute
SECONDS = 90.0  # of a busy machine
LEASE_SECONDS = 3


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Of workers with a trainer each."""
    return {
        **os.environ,
        "BESTEPOCH_HOME": str(tmp_path),
        "BESTEPOCH_DATABASE_URL": database_url,
        "BESTEPOCH_LEASE_SECONDS": f"{LEASE_SECONDS}",
        "BESTEPOCH_GANG_SECONDS": "6",
        "BESTEPOCH_SAVE_SECONDS": "0.2",
        "BESTEPOCH_TRAINERS": "1",
    }


def ended(database: Database, job_id: str) -> Job:
    found: Job = until(lambda: (now := job(database, job_id)).finished_at and now, SECONDS)
    return found


def best_sha256(database: Database, job_id: str) -> str:
    with database.reading() as connection:
        return checkpoints.get(connection, job_id, CheckpointKind.best).sha256


@linux_only
@pytest.mark.parametrize("killed", ["leader", "follower"])
def test_busy_workers_make_room_for_a_gang_and_a_killed_member_only_delays_it(
    environment: dict[str, str], database: Database, killed: str
) -> None:
    with ExitStack() as processes:
        for _ in range(2):
            processes.enter_context(bestepoch(environment, "worker"))
        wait_for_trainers(database, 2)
        undisturbed = submit(database, **JOB, priority=1).id
        assert ended(database, undisturbed).status == Status.succeeded

        small = [submit(database, **SMALL, batch_size=100 + number).id for number in range(2)]
        until(lambda: all(job(database, each).progress.epoch for each in small), SECONDS)
        gang, asked = submit(database, **JOB, priority=1).id, time.monotonic()
        until(lambda: job(database, gang).progress.epoch >= 20, SECONDS)
        print(f"the gang's epoch 20 after {time.monotonic() - asked:.1f} s")

        leader = job(database, gang).worker
        with database.reading() as connection:
            victim = next(each.pid for each in workers.find(connection) if (each.id == leader) == (killed == "leader"))
        for pid in [victim, *children(victim)]:
            os.kill(pid, signal.SIGKILL)
        processes.enter_context(bestepoch(environment, "worker"))

        found = ended(database, gang)
        assert (found.status, found.attempt > 1) == (Status.succeeded, True)
        assert best_sha256(database, gang) == best_sha256(database, undisturbed)


@linux_only
@pytest.mark.parametrize("stops", ["leader", "follower"])
def test_a_member_that_stops_within_a_long_epoch_is_no_crash(
    environment: dict[str, str], database: Database, stops: str
) -> None:
    with ExitStack() as processes:
        team = [
            processes.enter_context(bestepoch({**environment, "BESTEPOCH_DRAIN_SECONDS": "1"}, "worker"))
            for _ in range(2)
        ]
        wait_for_trainers(database, 2)
        gang = submit(database, **LONG).id
        until(lambda: job(database, gang).status == Status.running, SECONDS)
        until(lambda: meets(database, gang), SECONDS)
        time.sleep(3.0)  # into the first epoch
        leader = job(database, gang).worker
        with database.reading() as connection:
            pid = next(each.pid for each in workers.find(connection) if (each.id == leader) == (stops == "leader"))

        stopping = next(each for each in team if each.pid == pid)
        stopping.terminate()

        found = until(lambda: given_back(job(database, gang)), SECONDS)
        assert (found.failures, found.progress.epoch) == (0, 0)
        assert stopping.wait(SECONDS) == 0  # a second signal would end it at once
        with database.transaction() as connection:
            actions.cancel(connection, gang)


@linux_only
def test_a_worker_that_waits_for_its_gang_does_not_exit_as_idle(
    environment: dict[str, str], database: Database
) -> None:
    environment["BESTEPOCH_GANG_SECONDS"] = "20"
    with ExitStack() as processes:
        processes.enter_context(bestepoch(environment, "worker"))
        wait_for_trainers(database, 1)
        small = submit(database, **SMALL).id
        until(lambda: job(database, small).progress.epoch, SECONDS)
        gang = submit(database, **JOB, priority=1).id
        # The busy worker makes room after ten seconds.
        idle = processes.enter_context(bestepoch({**environment, "BESTEPOCH_EXIT_WHEN_IDLE": "2"}, "worker"))

        found = ended(database, gang)

        assert (found.status, found.attempt) == (Status.succeeded, 1)
        with database.transaction() as connection:
            actions.cancel(connection, small)  # either worker may have claimed it again
        assert idle.wait(SECONDS) == 0


def given_back(gang: Job) -> Job | None:
    """The job when its first attempt has ended; the worker that is left may have claimed it again."""
    return gang if gang.status == Status.queued or gang.attempt > 1 else None


def meets(database: Database, job_id: str) -> bool:
    """Whether the ranks have found their leader."""
    with database.reading() as connection:
        return rendezvous.find(connection, job_id, 1) is not None


def wait_for_trainers(database: Database, count: int) -> None:
    """Wait until there are so many, and each worker knows of the others: one that is alone trains all ranks itself."""
    until(lambda: trainers(database) == count, SECONDS)
    time.sleep(LEASE_SECONDS)


def trainers(database: Database) -> int:
    with database.reading() as connection:
        return workers.live(connection).trainers("cpu")
