"""A gang of workers on Postgres: small jobs make room, and a killed member only delays the job."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.teams import Team
from tests.processes import children, get, linux_only, submit, until
from tests.specs import REFERENCE

JOB: dict[str, Any] = {
    **REFERENCE,
    "batch_size": 100,
    "early_stopping": None,
    "max_epochs": 100,
    "parallel": {"devices": 2},
}


@linux_only
@pytest.mark.parametrize("killed", ["leader", "follower"])
def test_busy_workers_make_room_for_a_gang_and_a_killed_member_only_delays_it(
    postgres: str, tmp_path: Path, killed: str
) -> None:
    settings = {"BESTEPOCH_GANG_SECONDS": "4", "BESTEPOCH_SAVE_SECONDS": "0.2"}
    with Team(postgres, tmp_path / "home", **settings).at_work() as team:
        client = team.client
        undisturbed = get(client, submit(client, JOB), wait=60)
        assert undisturbed["status"] == "succeeded", undisturbed["error"]
        small = [job["id"] for job in team.running(2)]

        asked = time.monotonic()
        gang = submit(client, {**JOB, "priority": 1})
        until(lambda: get(client, gang)["progress"]["epoch"] >= 20)
        assert time.monotonic() - asked < 20.0

        leader = get(client, gang)["worker"]
        workers = client.get("/v1/workers").json()["data"]
        victim = next(each["pid"] for each in workers if (each["id"] == leader) == (killed == "leader"))
        for pid in [victim, *children(victim)]:
            os.kill(pid, signal.SIGKILL)
        team.start("worker")

        ended = get(client, gang, wait=60)
        assert ended["status"] == "succeeded", ended["error"]
        assert ended["attempt"] > 1
        assert ended["best"]["checkpoint"]["sha256"] == undisturbed["best"]["checkpoint"]["sha256"]
        assert all(get(client, job)["failures"] == 0 for job in small)
        team.cancel_all()
