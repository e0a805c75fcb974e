"""Repeated, concurrent and racing requests take effect exactly once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from service.domain.event import EventKind
from service.domain.status import Status, StopReason
from service.errors import Conflict, LeaseLost
from service.store.engine import Database
from service.store.jobs import actions, attempt, events
from service.store.jobs.attempt import Outcome
from tests.faults.teams import Team
from tests.processes import linux_only, until
from tests.specs import REFERENCE
from tests.store.records import claim, job, submit

KEY = {"Idempotency-Key": "night-42"}
# The service, but it dies as soon as a transaction that has added a job is committed.
DIES_AFTER_THE_COMMIT = """
import os, sys
from contextlib import contextmanager
from service.store.jobs import jobs
from service.store.engine import Database

added, add, transaction = [], jobs.add, Database.transaction

def noticed(connection, rows):
    add(connection, rows)
    added.append(rows)

@contextmanager
def deadly(self, *arguments, **options):
    with transaction(self, *arguments, **options) as connection:
        yield connection
    if added:
        os._exit(9)

jobs.add, Database.transaction = noticed, deadly
from service.cli import main
main()
"""


@pytest.fixture
def without_workers(database_url: str, tmp_path: Path) -> Team:
    """A deployment that is not started yet, without workers."""
    return Team(database_url, tmp_path / "home")


def test_a_retry_after_a_crash_between_commit_and_response_gets_the_same_job(without_workers: Team) -> None:
    command = [sys.executable, "-c", DIES_AFTER_THE_COMMIT, "api", "--port", str(without_workers.port)]
    with subprocess.Popen(command, env=without_workers.environment) as deadly:
        try:
            until(without_workers.answers, 60)
            with pytest.raises(httpx2.TransportError):
                without_workers.client.post("/v1/jobs", json=REFERENCE, headers=KEY)
            assert deadly.wait(20) == 9
        finally:
            deadly.kill()

    with without_workers.at_work(workers=0):
        again = [without_workers.client.post("/v1/jobs", json=REFERENCE, headers=KEY) for _ in range(2)]

        assert [answer.status_code for answer in again] == [200, 200]
        (found,) = without_workers.client.get("/v1/jobs").json()["data"]
        assert {answer.json()["id"] for answer in again} == {found["id"]}
        assert without_workers.problems() == []


def test_an_api_killed_during_an_upload_stores_no_partial_data_set(without_workers: Team) -> None:
    table = b"a,b\n" + b"1,2\n" * 1_000
    started, killed = threading.Event(), threading.Event()

    def halting() -> Iterator[bytes]:
        yield table
        started.set()
        killed.wait(30)
        yield table

    with without_workers.at_work(workers=0), ThreadPoolExecutor(1) as one:
        uploading = one.submit(without_workers.client.post, "/v1/datasets", content=halting())
        started.wait(30)
        without_workers.api.kill()
        without_workers.api.wait(20)
        killed.set()
        with pytest.raises(httpx2.TransportError):
            uploading.result(30)
        without_workers.start_api()

        assert without_workers.client.get("/v1/datasets").json()["data"] == []
        assert without_workers.client.post("/v1/datasets", content=table).status_code == 201
        assert without_workers.problems() == []


def test_fifty_concurrent_requests_with_one_key_create_one_job(without_workers: Team) -> None:
    with without_workers.at_work(workers=0), ThreadPoolExecutor(50) as crowd:
        asked = [crowd.submit(without_workers.client.post, "/v1/jobs", json=REFERENCE, headers=KEY) for _ in range(50)]
        answers = [each.result() for each in asked]
        other = without_workers.client.post("/v1/jobs", json={**REFERENCE, "seed": 1}, headers=KEY)

        assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(without_workers.client.get("/v1/jobs").json()["data"]) == 1
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@linux_only
def test_cancelling_races_completion_a_thousand_times(database: Database) -> None:
    chance, done = random.Random(17), Outcome(Status.succeeded, StopReason.max_epochs)

    def race(what: Callable[..., object], *arguments: object) -> None:
        with suppress(Conflict, LeaseLost), database.transaction() as connection:
            what(connection, *arguments)

    statuses = []
    with ThreadPoolExecutor(3) as racers:
        for _ in range(1_000):
            submitted = submit(database)
            (taken,) = claim(database)
            own = submitted.id, taken.attempt
            racing = [(attempt.finish, *own, done), (actions.cancel, submitted.id), (attempt.release, *own)]
            started = [racers.submit(race, *each) for each in chance.sample(racing, chance.choice([2, 3]))]
            for each in started:
                each.result()
            race(attempt.finish, *own, done)
            race(actions.cancel, submitted.id)

            ended = job(database, submitted.id)
            assert ended.status.terminal
            statuses.append(ended.status)
            with database.reading() as connection:
                log = events.read(connection, submitted.id, limit=100)
            assert [event.details["status"] for event in log if event.kind is EventKind.ended] == [ended.status]
    assert set(statuses) == {Status.succeeded, Status.cancelled}
