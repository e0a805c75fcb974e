"""Chaos test: kill, stop and disconnect processes of a busy service, then check every invariant.

CHAOS_MINUTES (2), CHAOS_JOBS (1,000) and CHAOS_SEED, which is printed, make it longer, larger and the same again.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest

from tests.databases import cut_off, throw_out
from tests.faults.teams import Team
from tests.processes import children, linux_only, until

MINUTES = float(os.environ.get("CHAOS_MINUTES", "2"))
JOBS = int(os.environ.get("CHAOS_JOBS", "1000"))
SEED = int(os.environ.get("CHAOS_SEED", str(random.randrange(10**6))))
CLIENTS = 4
LONG_EPOCHS = 2_000
CALM_SECONDS = 300.0  # within which another job must end


def spec(number: int) -> dict[str, Any]:
    """Small jobs of several kinds, of which some train together; every 50th takes seconds and is interrupted."""
    return {
        "data": {"kind": "synthetic", "rows": 200 + 100 * (number % 3), "features": 4, "signal": 1.0},
        "architecture": {"hidden": [8], "dropout": 0.1 * (number % 2)},
        "early_stopping": {"patience": 5} if number % 2 else None,
        "max_epochs": 10 + number % 40 if number % 50 else LONG_EPOCHS,
        "seed": number // 10,
        "priority": number % 3,
        "name": f"chaos {number}",
    }


@dataclass
class Clients:
    """What clients have asked for and were promised."""

    team: Team
    chance: random.Random
    accepted: dict[int, str] = field(default_factory=dict)  # by number
    forks: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """Again and again until there is an answer that is not "come back"."""
        while True:
            with suppress(httpx2.TransportError):
                answer = self.team.client.request(method, path, **options)
                if answer.status_code >= 500 and answer.status_code != 503:
                    self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text}")
                    return answer
                if answer.status_code != 503:
                    return answer
            time.sleep(0.2)

    def submit_all(self, client: int) -> None:
        """This client's share of the jobs, over the whole storm, with now and then something else."""
        chance = random.Random(SEED * 100 + client)
        numbers = range(client, JOBS, CLIENTS)
        pause = MINUTES * 60 * 0.9 / len(numbers)
        for number in numbers:
            answer = self.ask("POST", "/v1/jobs", json=spec(number), headers={"Idempotency-Key": f"{number}"})
            if answer is None or answer.status_code not in (200, 201):
                self.wrong.append(f"job {number}: {answer and answer.text}")
                continue
            self.accepted[number] = answer.json()["id"]
            self.meddle(chance)
            time.sleep(pause * chance.uniform(0, 1.5))

    def meddle(self, chance: random.Random) -> None:
        job_id = chance.choice(list(self.accepted.values()))
        what = chance.choices(["nothing", "pause", "resume", "cancel", "raise", "fork"], [50, 12, 12, 8, 8, 4])[0]
        if what in ("pause", "resume", "cancel"):
            answer = self.ask("POST", f"/v1/jobs/{job_id}/{what}")
            if what == "cancel" and answer and answer.status_code in (200, 202):
                self.cancelled.add(job_id)
        elif what == "raise":
            self.ask("PATCH", f"/v1/jobs/{job_id}", json={"priority": chance.randint(-5, 5)})
        elif what == "fork":
            body = {"changes": {"max_epochs": 60}}
            answer = self.ask("POST", f"/v1/jobs/{job_id}/fork", json=body, headers={"Idempotency-Key": f"f{job_id}"})
            if answer and answer.status_code in (200, 201):
                self.forks.append(answer.json()["id"])


class Storm:
    """One blow after another."""

    def __init__(self, team: Team, server: str | None, chance: random.Random) -> None:
        self.team, self.server, self.chance = team, server, chance
        self.blows: dict[str, int] = {}

    def rage(self, seconds: float) -> None:
        """For so long."""
        kinds = [self.kill_a_trainer, self.stop_something, self.kill_a_worker, self.restart_a_worker]
        kinds += [self.kill_the_api, self.restart_the_api]
        if self.server:
            kinds += [self.throw_out, self.cut_off]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            blow: Callable[[], None] = self.chance.choice(kinds)
            self.blows[blow.__name__] = self.blows.get(blow.__name__, 0) + 1
            with suppress(ProcessLookupError):
                blow()
            time.sleep(self.chance.uniform(0.2, 2.5))

    def kill_a_trainer(self) -> None:
        below = children(self.chance.choice(self.team.workers).pid)
        if below:
            os.kill(self.chance.choice(below), signal.SIGKILL)

    def stop_something(self) -> None:
        """For less or more than a lease."""
        worker = self.chance.choice(self.team.workers).pid
        stopped = self.chance.choice([[worker], [worker, *children(worker)], children(worker)[-1:]])
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.5, 4))
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_a_worker(self) -> None:
        self.replace(signal.SIGKILL)

    def restart_a_worker(self) -> None:
        self.replace(signal.SIGTERM)

    def replace(self, how: signal.Signals) -> None:
        place = self.chance.randrange(len(self.team.workers))
        worker = self.team.workers[place]
        below = children(worker.pid)
        worker.send_signal(how)
        worker.wait(60)
        for pid in below:  # they notice that they are orphans by themselves, but a machine that fails takes all
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.team.workers[place] = self.team.start("worker")

    def kill_the_api(self) -> None:
        self.team.api.kill()
        self.team.api.wait(20)
        self.team.start_api()

    def restart_the_api(self) -> None:
        self.team.api.terminate()
        self.team.api.wait(40)
        self.team.start_api()

    def throw_out(self) -> None:
        assert self.server
        with psycopg.connect(self.server, autocommit=True) as connection:
            throw_out(connection, urlsplit(self.team.url).path[1:])

    def cut_off(self) -> None:
        assert self.server
        with cut_off(self.server, self.team.url):
            time.sleep(self.chance.uniform(0.2, 3))


@pytest.fixture
def server(backend: str, request: pytest.FixtureRequest) -> str | None:
    """The URL of the Postgres server itself."""
    return str(request.getfixturevalue("postgres")) if backend == "postgres" else None


@linux_only
def test_all_invariants_hold_after_chaos(database_url: str, server: str | None, tmp_path: Path) -> None:
    print(f"CHAOS_SEED={SEED}")
    settings = {"BESTEPOCH_SAVE_SECONDS": "1", "BESTEPOCH_LOG_LEVEL": "error"}
    with Team(database_url, tmp_path / "home", **settings).at_work(workers=2) as team:
        clients = Clients(team, random.Random(SEED))
        storm = Storm(team, server, random.Random(SEED))
        asking = [threading.Thread(target=clients.submit_all, args=(number,)) for number in range(CLIENTS)]
        for each in asking:
            each.start()
        storm.rage(MINUTES * 60)
        for each in asking:
            each.join(CALM_SECONDS)
        print(f"{len(clients.accepted)} jobs, {len(clients.forks)} forks, {len(clients.cancelled)} cancelled")
        print(storm.blows)
        for job in team.jobs():
            if job["status"] == "paused":
                clients.ask("POST", f"/v1/jobs/{job['id']}/resume")
        wait_for_all(team)

        check(team, clients)
        compare(team, clients)


def wait_for_all(team: Team) -> None:
    """Wait until all jobs have ended, as long as some do: a slow machine takes long, with a slow store even longer."""
    left, ended_at = team.jobs(), time.monotonic()
    while unfinished := [job for job in team.jobs() if not job["finished_at"]]:
        if len(unfinished) < len(left):
            left, ended_at = unfinished, time.monotonic()
        assert time.monotonic() < ended_at + CALM_SECONDS, unfinished
        time.sleep(1)


def check(team: Team, clients: Clients) -> None:
    """Every job that was accepted has ended, once, for a reason that somebody gave."""
    assert clients.wrong == []
    found = {job["id"]: job for job in team.jobs()}
    assert len(clients.accepted) == JOBS
    assert found.keys() == {*clients.accepted.values(), *clients.forks}
    for job_id, job in found.items():
        if job["status"] == "failed":  # three crashes without a saved state in between can happen to anyone
            assert (job["error"]["code"], job["failures"]) == ("worker_lost", 3), job
            continue
        assert job["status"] == ("cancelled" if job["stop_reason"] == "cancelled" else "succeeded"), job
        if job["status"] == "cancelled":
            assert job_id in clients.cancelled
    failed = [job for job in found.values() if job["status"] == "failed"]
    assert len(failed) < len(found) / 50, failed
    assert team.problems() == []


def compare(team: Team, clients: Clients) -> None:
    """Some of the jobs that were hit hardest have the very weights of the same spec trained in calm."""
    found = [job for job in team.jobs() if job["status"] == "succeeded" and not job["forked"]]
    hit = sorted(found, key=lambda job: -job["attempt"])[:20]
    print(f"{sum(job['attempt'] > 1 for job in found)} jobs succeeded after more than one attempt")
    assert hit[0]["attempt"] > 1
    numbers = {job_id: number for number, job_id in clients.accepted.items()}
    for job in hit:
        again = team.client.post("/v1/jobs", json=spec(numbers[job["id"]])).json()["id"]
        calm = until(
            lambda j=again: (ended := team.client.get(f"/v1/jobs/{j}?wait=30").json())["finished_at"] and ended, 60
        )
        assert calm["best"]["checkpoint"]["sha256"] == job["best"]["checkpoint"]["sha256"], (job, calm)
