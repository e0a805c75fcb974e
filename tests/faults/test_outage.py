"""Postgres outages under load: nothing is lost, and no worker loses its jobs."""

from __future__ import annotations

import os
import signal
import threading
import time
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.databases import cut_off, read_only, throw_out
from tests.faults.teams import LEASE, Team
from tests.processes import children, get, linux_only, submit, until
from tests.specs import REFERENCE

pytestmark = pytest.mark.parametrize("backend", ["postgres"], indirect=True)


def test_during_an_outage_requests_get_503_and_afterwards_every_job_completes(team: Team, server: str) -> None:
    longer = {**REFERENCE, "early_stopping": None, "max_epochs": 300}
    specs = [{**longer, "batch_size": size} for size in (64, 100, 128, 200)]
    ids = [submit(team.client, spec) for spec in specs]
    until(lambda: get(team.client, ids[0])["progress"]["epoch"])

    with cut_off(server, team.url):
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


def test_workers_and_api_survive_a_read_only_database(team: Team, server: str) -> None:
    longer = {**REFERENCE, "early_stopping": None, "max_epochs": 300}
    ids = [submit(team.client, {**longer, "batch_size": size}) for size in (64, 100, 128)]
    until(lambda: get(team.client, ids[0])["progress"]["epoch"])

    with read_only(server, team.url):
        time.sleep(LEASE / 2)
        answer = team.client.post("/v1/jobs", json=REFERENCE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert team.client.get("/readyz").status_code == 503
        assert team.client.get("/v1/jobs").status_code == 200
        assert all(worker.poll() is None for worker in team.workers)

    for job_id in ids:
        job = until(lambda j=job_id: (job := get(team.client, j, wait=60)).get("finished_at") and job, 60)
        assert (job["status"], job["failures"]) == ("succeeded", 0)


def test_repeatedly_terminated_sessions_lose_no_job_and_cause_no_500(team: Team, server: str) -> None:
    longer = {**REFERENCE, "early_stopping": None, "max_epochs": 300}
    ids = [submit(team.client, {**longer, "batch_size": size}) for size in (64, 100, 128)]
    told: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            told.append(team.client.get("/v1/jobs").status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    with psycopg.connect(server, autocommit=True) as connection:
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
def test_the_first_worker_to_reconnect_does_not_reap_jobs_of_others(team: Team, server: str) -> None:
    before = team.running(2)
    other = next(worker for worker in team.workers if worker.pid != team.pid_of(before[0]))

    with cut_off(server, team.url):
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
def test_a_suspended_worker_does_not_reap_jobs_of_others_when_it_wakes(team: Team) -> None:
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
def test_the_job_of_a_dead_worker_is_requeued_soon_after_its_lease_expires(team: Team) -> None:
    (job,) = team.running(1)
    time.sleep(LEASE)  # the other one has been in touch for a while
    dead = next(worker for worker in team.workers if worker.pid == team.pid_of(job))
    for pid in children(dead.pid):
        os.kill(pid, signal.SIGKILL)
    os.kill(dead.pid, signal.SIGSTOP)
    began = time.monotonic()

    until(lambda: get(team.client, job["id"])["attempt"] == 2)

    assert time.monotonic() - began < LEASE + 2


def test_a_client_that_follows_a_job_through_an_outage_gets_each_epoch_once(team: Team, server: str) -> None:
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
    with cut_off(server, team.url):
        time.sleep(2)
        last = heard[-1]
    back.set()
    following.join(30)

    assert not following.is_alive()
    assert heard == list(range(1, len(heard) + 1))
