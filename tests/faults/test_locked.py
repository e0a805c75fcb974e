"""Another process holds SQLite's write lock: requests wait, then get a 503."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.teams import Team
from tests.faults.test_resuming import SPEC, ended, outcome
from tests.processes import get, submit, until
from tests.specs import REFERENCE

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the write lock."""
    connection = sqlite3.connect(Path(url.removeprefix("sqlite:///")), isolation_level=None, check_same_thread=False)
    deadline = time.monotonic() + 30
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError:
            assert time.monotonic() < deadline
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_lock_of_two_seconds_is_waited_for(team: Team) -> None:
    with locked(team.url):
        asked: list[int] = []
        asking = threading.Thread(target=lambda: asked.append(team.client.post("/v1/jobs", json=REFERENCE).status_code))
        asking.start()
        time.sleep(2)
        assert asked == []
        assert team.client.get("/v1/jobs").status_code == 200
    asking.join(20)

    assert asked == [201]


def test_a_lock_of_a_minute_gives_503_and_only_delays_jobs(team: Team) -> None:
    spec = {**SPEC, "max_epochs": 400}
    undisturbed = ended(team.client, submit(team.client, spec))
    job_id = submit(team.client, spec)
    until(lambda: get(team.client, job_id)["progress"]["epoch"] > 20)

    with locked(team.url):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            refused = team.client.post("/v1/jobs", json=REFERENCE)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert team.client.get(f"/v1/jobs/{job_id}").status_code == 200

    job = ended(team.client, job_id)
    assert job["status"] == "succeeded", job["error"]
    assert outcome(team.client, job) == outcome(team.client, undisturbed)
    assert len(team.client.get("/v1/jobs").json()["data"]) == 2
    assert team.problems() == []
