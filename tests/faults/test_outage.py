"""Postgres goes away and comes back under an API and two workers at work: nothing is lost, nobody is robbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest

from examples.local_service import wait_until_warm
from service.settings import free_port
from service.store.engine import migrate
from tests.databases import cut_off, postgres_database, throw_out
from tests.processes import ENDLESS, children, get, linux_only, submit, until
from tests.specs import REFERENCE

LEASE = 2.0


@contextmanager
def bestepoch(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "service.cli", *arguments], env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        code = process.wait(40)
    assert code == 0


class Team:
    """An API and its workers on a database that tests may cut off."""

    def __init__(self, client: httpx2.Client, server: str, url: str, workers: list[subprocess.Popen[bytes]]) -> None:
        self.client, self.server, self.url, self.workers = client, server, url, workers

    def running(self, count: int) -> list[dict[str, Any]]:
        """That many jobs under way that never end by themselves, one on each trainer."""
        # other batch sizes, so that they are not trained as one array
        ids = [submit(self.client, {**ENDLESS, "batch_size": 100 + number}) for number in range(count)]
        until(lambda: all(get(self.client, job_id)["progress"]["epoch"] for job_id in ids))
        return [get(self.client, job_id) for job_id in ids]


@pytest.fixture
def team(postgres: str, tmp_path: Path) -> Iterator[Team]:
    port = str(free_port("127.0.0.1"))
    with postgres_database(postgres) as url:
        migrate(url)
        environment = {
            **os.environ,
            "BESTEPOCH_HOME": str(tmp_path / "home"),
            "BESTEPOCH_DATABASE_URL": url,
            "BESTEPOCH_LEASE_SECONDS": str(LEASE),
            "BESTEPOCH_TRAINERS": "1",
            "BESTEPOCH_LOG_LEVEL": "error",
        }
        with (
            bestepoch(environment, "api", "--port", port) as api,
            bestepoch(environment, "worker") as one,
            bestepoch(environment, "worker") as other,
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=70.0) as client,
        ):
            wait_until_warm(client, api, workers=2)
            yield Team(client, postgres, url, [one, other])


def test_while_the_database_is_away_the_api_says_so_and_afterwards_every_job_completes(team: Team) -> None:
    longer = {**REFERENCE, "early_stopping": None, "max_epochs": 300}
    specs = [{**longer, "batch_size": size} for size in (64, 100, 128, 200)]
    ids = [submit(team.client, spec) for spec in specs]
    until(lambda: get(team.client, ids[0])["progress"]["epoch"])

    with cut_off(team.server, team.url):
        for path in ("/v1/jobs", f"/v1/jobs/{ids[0]}", "/readyz", f"/v1/jobs/{ids[0]}/stream"):
            answer = team.client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert answer.headers["retry-after"] == "2"
        answer = team.client.post("/v1/jobs", json=REFERENCE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert team.client.get("/healthz").status_code == 200

    jobs = [get(team.client, job_id, wait=60) for job_id in ids]
    assert [job["status"] for job in jobs] == ["succeeded"] * len(ids)
    for job in jobs:
        history = team.client.get(f"/v1/jobs/{job['id']}/history", params={"limit": 1000}).json()["data"]
        assert [row["epoch"] for row in history] == list(range(1, 301))


def test_sessions_that_are_thrown_out_again_and_again_cost_no_job_and_no_500(team: Team) -> None:
    longer = {**REFERENCE, "early_stopping": None, "max_epochs": 300}
    ids = [submit(team.client, {**longer, "batch_size": size}) for size in (64, 100, 128)]
    told: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            told.append(team.client.get("/v1/jobs").status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    with psycopg.connect(team.server, autocommit=True) as connection:
        for _ in range(20):
            throw_out(connection, urlsplit(team.url).path[1:])
            time.sleep(0.1)
    done.set()
    asking.join()

    assert set(told) <= {200, 503}
    for job_id in ids:
        job = until(
            lambda j=job_id: (job := team.client.get(f"/v1/jobs/{j}?wait=60")).status_code == 200 and job.json()
        )
        assert (job["status"], job["failures"]) == ("succeeded", 0)


@linux_only
def test_the_first_worker_back_after_an_outage_leaves_the_others_their_jobs(team: Team) -> None:
    before = team.running(2)
    other = next(worker for worker in team.workers if worker.pid != pid_of(team, before[0]["worker"]))

    with cut_off(team.server, team.url):
        time.sleep(LEASE)
        # what an unlucky one looks like: not yet back as the first looks for lapsed leases
        os.kill(other.pid, signal.SIGSTOP)
        time.sleep(0.5)
    time.sleep(LEASE * 0.75)
    os.kill(other.pid, signal.SIGCONT)
    time.sleep(LEASE * 1.5)

    after = [get(team.client, job["id"]) for job in before]
    assert [(job["attempt"], job["failures"], job["worker"]) for job in after] == [
        (1, 0, job["worker"]) for job in before
    ]


@linux_only
def test_a_worker_that_was_stopped_robs_nobody_as_it_wakes(team: Team) -> None:
    before = team.running(2)

    for worker in team.workers:
        os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(LEASE * 1.5)
    os.kill(team.workers[0].pid, signal.SIGCONT)
    time.sleep(LEASE * 0.5)
    os.kill(team.workers[1].pid, signal.SIGCONT)
    time.sleep(LEASE * 1.5)

    after = [get(team.client, job["id"]) for job in before]
    assert [(job["attempt"], job["failures"]) for job in after] == [(1, 0)] * 2


@linux_only
def test_a_dead_workers_job_is_still_taken_within_lease_and_a_second_or_two(team: Team) -> None:
    (job,) = team.running(1)
    time.sleep(LEASE)  # the other one has been in touch for a while
    dead = next(worker for worker in team.workers if worker.pid == pid_of(team, job["worker"]))
    for pid in children(dead.pid):
        os.kill(pid, signal.SIGKILL)
    os.kill(dead.pid, signal.SIGSTOP)
    began = time.monotonic()

    until(lambda: get(team.client, job["id"])["attempt"] == 2)

    assert time.monotonic() - began < LEASE + 2


def test_a_client_that_follows_a_job_through_an_outage_hears_of_each_epoch_once(team: Team) -> None:
    (job,) = team.running(1)
    heard: list[int] = []
    back = threading.Event()

    def follow() -> None:
        while not (back.is_set() and heard[-1] > last):
            headers = {"Last-Event-ID": str(heard[-1])} if heard else {}
            with team.client.stream("GET", f"/v1/jobs/{job['id']}/stream", headers=headers) as response:
                assert response.status_code in (200, 503)
                for line in response.iter_lines():
                    if line.startswith("id: "):
                        heard.append(int(line[4:]))
                        if back.is_set() and heard[-1] > last:
                            return
            time.sleep(0.2)

    last = 0
    following = threading.Thread(target=follow)
    following.start()
    until(lambda: len(heard) > 10)
    with cut_off(team.server, team.url):
        time.sleep(2)
        last = heard[-1]
    back.set()
    following.join(30)

    assert not following.is_alive()
    assert heard == list(range(1, len(heard) + 1))


def pid_of(team: Team, worker_id: str) -> int:
    workers = team.client.get("/v1/workers").json()["data"]
    return next(int(worker["pid"]) for worker in workers if worker["id"] == worker_id)
