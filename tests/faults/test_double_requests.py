"""Requests that come twice, at once, or race the end of a job: everything happens once."""

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
def idle(database_url: str, tmp_path: Path) -> Team:
    """A team that has yet to start, and has no workers."""
    return Team(database_url, tmp_path / "home")


def test_an_api_killed_between_commit_and_answer_gives_the_same_job_to_who_asks_again(idle: Team) -> None:
    command = [sys.executable, "-c", DIES_AFTER_THE_COMMIT, "api", "--port", str(idle.port)]
    with subprocess.Popen(command, env=idle.environment) as deadly:
        try:
            until(idle.answers)
            with pytest.raises(httpx2.TransportError):
                idle.client.post("/v1/jobs", json=REFERENCE, headers=KEY)
            assert deadly.wait(20) == 9
        finally:
            deadly.kill()

    with idle.at_work(workers=0):
        again = [idle.client.post("/v1/jobs", json=REFERENCE, headers=KEY) for _ in range(2)]

        assert [answer.status_code for answer in again] == [200, 200]
        (found,) = idle.client.get("/v1/jobs").json()["data"]
        assert {answer.json()["id"] for answer in again} == {found["id"]}
        assert idle.wrong() == []


def test_an_api_killed_amid_an_upload_has_no_half_data_set(idle: Team) -> None:
    table = b"a,b\n" + b"1,2\n" * 1_000
    started, killed = threading.Event(), threading.Event()

    def halting() -> Iterator[bytes]:
        yield table
        started.set()
        killed.wait(30)
        yield table

    with idle.at_work(workers=0), ThreadPoolExecutor(1) as one:
        uploading = one.submit(idle.client.post, "/v1/datasets", content=halting())
        started.wait(30)
        idle.api.kill()
        idle.api.wait(20)
        killed.set()
        with pytest.raises(httpx2.TransportError):
            uploading.result(30)
        idle.start_api()

        assert idle.client.get("/v1/datasets").json()["data"] == []
        assert idle.client.post("/v1/datasets", content=table).status_code == 201
        assert idle.wrong() == []


def test_fifty_requests_at_once_with_one_key_make_one_job(idle: Team) -> None:
    with idle.at_work(workers=0), ThreadPoolExecutor(50) as crowd:
        asked = [crowd.submit(idle.client.post, "/v1/jobs", json=REFERENCE, headers=KEY) for _ in range(50)]
        answers = [each.result() for each in asked]
        other = idle.client.post("/v1/jobs", json={**REFERENCE, "seed": 1}, headers=KEY)

        assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(idle.client.get("/v1/jobs").json()["data"]) == 1
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
