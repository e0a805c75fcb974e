"""A rank that joins, or cannot: the attempt ends at once, as an interruption or as a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest

from service.artifacts import Artifacts
from service.domain.job import Job
from service.domain.status import Status
from service.errors import Unavailable
from service.settings import free_port
from service.store.engine import Database
from service.store.jobs import events, rendezvous
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from service.training import ranks
from service.worker import rank
from service.worker.protocol import STOP, RankTask
from tests.store.gangs import submit_on
from tests.store.records import job
from tests.worker.trainers import trainer

LOOPBACK = "127.0.0.1"


class Interrupted(Database):
    """A database that is unavailable at every second look."""

    looks = 0

    @contextmanager
    def reading(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        self.looks += 1
        if self.looks % 2:
            raise Unavailable("it is being restarted")
        with super().reading(*arguments, **options) as connection:
            yield connection


def claimed(database: Database) -> Claim:
    submit_on(database, 2)
    with database.transaction() as connection:
        (claim,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, 1, 1, ranks=2), seconds=15.0)
    return claim


def ended(database: Database, job_id: str) -> Job:
    found = job(database, job_id)
    assert (found.status, found.attempt) == (Status.queued, 1)
    return found


def test_a_follower_that_stops_before_the_ranks_meet_interrupts_the_attempt(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection]
) -> None:
    claim = claimed(database)
    pipe[0].send(STOP)

    trainer(database, artifacts, pipe).follow(RankTask(claim, 1, LOOPBACK))

    assert ended(database, claim.job_id).failures == 0


def test_a_follower_that_cannot_reach_the_leader_says_so_and_ends_the_attempt(
    database: Database, artifacts: Artifacts, pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "TIMEOUT", ranks.TIMEOUT / 60)
    monkeypatch.setattr(rank, "RECORD_SECONDS", 0.5)
    claim = claimed(database)
    with database.transaction() as connection:
        rendezvous.publish(connection, claim.job_id, claim.attempt, f"{LOOPBACK} {free_port(LOOPBACK)}")

    trainer(database, artifacts, pipe).follow(RankTask(claim, 1, LOOPBACK))

    assert ended(database, claim.job_id).failures == 1
    with database.reading() as connection:
        assert "rank 1 on " in events.read(connection, claim.job_id, limit=100)[-1].message


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_rank_outlasts_an_outage_of_the_database_while_it_joins(
    database: Database, database_url: str, artifacts: Artifacts, pipe: tuple[Connection, Connection]
) -> None:
    claim = claimed(database)
    pipe[0].send(STOP)

    interrupted = Interrupted(database_url)
    trainer(interrupted, artifacts, pipe).follow(RankTask(claim, 1, LOOPBACK))
    interrupted.close()

    assert interrupted.looks > 2
    assert ended(database, claim.job_id).failures == 0
