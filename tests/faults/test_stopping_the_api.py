"""Graceful shutdown and restart of the API under load: accepted requests complete, nothing is lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from tests.faults.teams import Team
from tests.faults.test_resuming import ended
from tests.processes import linux_only, until

TINY: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 100}, "max_epochs": 3, "early_stopping": None}


@linux_only
def test_a_stopping_api_completes_accepted_requests_and_closes_streams(team: Team) -> None:
    (followed,) = team.running(1)
    statuses: list[int] = []
    told: list[str] = []

    def post(number: int) -> None:
        try:
            statuses.append(team.client.post("/v1/jobs", json={**TINY, "seed": number}).status_code)
        except httpx2.TransportError:
            return  # nobody took it: it listens no more

    def follow() -> None:
        with team.client.stream("GET", f"/v1/jobs/{followed['id']}/stream") as response:
            told.extend(line for line in response.iter_lines() if line.startswith("event: "))

    following = threading.Thread(target=follow)
    following.start()
    until(lambda: told)
    with ThreadPoolExecutor(16) as crowd:
        posting = [crowd.submit(post, number) for number in range(400)]
        until(lambda: len(statuses) > 40)
        team.api.terminate()
        for each in posting:
            each.result()
    following.join(20)

    assert team.api.wait(20) == 0
    assert set(statuses) == {201}
    assert told[-1] == "event: closing"
    team.start_api()
    team.client.post(f"/v1/jobs/{followed['id']}/cancel")
    assert len(team.jobs()) == len(statuses) + 1
    assert team.problems() == []


@linux_only
def test_a_rolling_restart_under_load_loses_and_repeats_nothing(team: Team) -> None:
    accepted: dict[int, str] = {}
    over = threading.Event()

    def keep_posting(client: int) -> None:
        number = 0
        while not over.is_set():
            key = client * 100_000 + number
            try:
                answer = team.client.post("/v1/jobs", json={**TINY, "seed": key}, headers={"Idempotency-Key": str(key)})
            except httpx2.TransportError:
                time.sleep(0.1)
                continue
            assert answer.status_code in (200, 201), answer.text
            accepted[key] = answer.json()["id"]
            number += 1
            time.sleep(0.1)

    posting = [threading.Thread(target=keep_posting, args=(client,)) for client in range(4)]
    for each in posting:
        each.start()
    until(lambda: len(accepted) > 10)
    for place, worker in enumerate(team.workers):
        worker.terminate()
        assert worker.wait(30) == 0
        team.workers[place] = team.start("worker")
    team.api.terminate()
    assert team.api.wait(20) == 0
    team.start_api()
    time.sleep(1)
    over.set()
    for each in posting:
        each.join(30)

    for job_id in accepted.values():
        job = ended(team.client, job_id)
        assert (job["status"], job["failures"], job["progress"]["epoch"]) == ("succeeded", 0, 3)
    assert len(set(accepted.values())) == len(accepted)
    assert team.problems() == []
