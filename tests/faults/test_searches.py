"""A search comes to the same decisions and the same winner, whatever is killed meanwhile."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tests.faults.teams import Team
from tests.processes import children, linux_only, until

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 6_000, "features": 5},
    "batch_size": 16,
    "max_epochs": 27,
    "early_stopping": None,
}
SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-3, 0.3]},
    "optimizer.kind": {"choice": ["adam", "sgd"]},
    "optimizer.momentum": {"uniform": [0, 0.9], "when": {"optimizer.kind": ["sgd"]}},
}
SEARCHES = [
    {"kind": "halving", "trials": 24, "eta": 3},
    {"kind": "tpe", "trials": 20, "batch": 5, "startup_trials": 5},
]


def outcome(team: Team, search: dict[str, Any], disturb: Callable[[], object]) -> tuple[list[Any], Any, str]:
    """The decisions, the winner's point, and the SHA-256 of its best weights, of a search that is disturbed."""
    body = {"base": BASE, "space": SPACE, "search": search}
    sweep_id = team.client.post("/v1/sweeps", json=body).raise_for_status().json()["id"]

    def ended() -> Any:
        disturb()
        with suppress(httpx2.TransportError):
            response = team.client.get(f"/v1/sweeps/{sweep_id}", params={"wait": 0.3})
            sweep = response.json() if response.status_code == 200 else None
            return sweep if sweep and sweep["status"] != "running" else None

    sweep = until(ended, 400)
    assert (sweep["status"], sweep["error"], sweep["counts"]["failed"]) == ("finished", None, 0)
    recorded = team.client.get(f"/v1/sweeps/{sweep_id}/decisions", params={"limit": 1000}).json()["data"]
    decisions = [{name: value for name, value in each.items() if name != "created_at"} for each in recorded]
    best = team.client.get(f"/v1/jobs/{sweep['best']['job']}/checkpoints/best").json()
    return decisions, sweep["best"]["point"], best["sha256"]


def ready(team: Team) -> set[int]:
    """The processes of the workers that are ready to train."""
    listed = team.client.get("/v1/workers").raise_for_status().json()["data"]
    return {worker["pid"] for worker in listed if worker["device"] != "starting"}


@linux_only
@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: str(search["kind"]))
def test_a_search_whose_processes_are_killed_at_random_decides_as_a_calm_one(
    team: Team, search: dict[str, Any]
) -> None:
    drawn, kills, asked = random.Random(0), 0, 0

    def kill() -> Any:
        nonlocal kills, asked
        asked += 1
        if kills == 6 or asked % 2:
            return None
        kills += 1
        what = ("api", "worker", "trainer")[kills % 3]
        if what == "api":
            team.api.kill()
            team.api.wait()
            team.api = team.start("api", "--port", str(team.port))
            return until(team.answers, 100)
        place = drawn.randrange(2)
        below = children(team.workers[place].pid)
        if what == "trainer" and below:
            with suppress(ProcessLookupError):
                os.kill(drawn.choice(sorted(below)), signal.SIGKILL)
            return None
        team.workers[place].kill()
        team.workers[place].wait()
        team.workers[place] = team.start("worker")
        return None

    calm = outcome(team, search, lambda: None)
    disturbed = outcome(team, search, kill)
    until(lambda: ready(team) >= {worker.pid for worker in team.workers}, 60)  # before they are told to stop

    assert kills >= 3
    assert disturbed == calm
