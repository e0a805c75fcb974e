"""A job whose trainer is killed, suspended or hangs ends with the weights of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.local_service import running_service
from tests.object_store import artifacts_environment
from tests.processes import get, linux_only, submit, trainers_of, until, worker_of

KILLS = int(os.environ.get("TEST_KILLS", "100"))
EPOCHS = 45 * KILLS  # some 30 from one kill to the next
SPEC: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 4_000, "features": 20, "signal": 1.0},
    "architecture": {"hidden": [64, 32], "dropout": 0.1},
    "schedule": {"kind": "plateau"},
    "early_stopping": None,
}


@pytest.fixture
def saving_often(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A service that saves the state of jobs at every flush."""
    settings = {"BESTEPOCH_SAVE_SECONDS": "0", "BESTEPOCH_TRAINERS": "1", "BESTEPOCH_LOG_LEVEL": "error"}
    with running_service(
        tmp_path,
        **artifacts_environment(tmp_path),
        **settings,
        BESTEPOCH_STALL_SECONDS="5",
        BESTEPOCH_LEASE_SECONDS="2",
    ) as client:
        yield client


def outcome(client: httpx2.Client, job: dict[str, Any]) -> tuple[str, str, list[dict[str, Any]]]:
    """SHA-256 of best and last, and the history without its seconds."""
    best, last = (client.get(f"/v1/jobs/{job['id']}/checkpoints/{kind}").json()["sha256"] for kind in ("best", "last"))
    rows: list[dict[str, Any]] = []
    while page := client.get(f"/v1/jobs/{job['id']}/history", params={"limit": 1000, "after_epoch": len(rows)}).json()[
        "data"
    ]:
        rows += [{name: value for name, value in row.items() if name != "seconds"} for row in page]
    return best, last, rows


def ended(client: httpx2.Client, job_id: str, seconds: float = 300.0) -> dict[str, Any]:
    return dict(until(lambda: (job := get(client, job_id, wait=10))["finished_at"] and job, seconds))


@linux_only
def test_a_trainer_killed_repeatedly_at_random_moments(saving_often: httpx2.Client) -> None:
    client, chance = saving_often, random.Random(4)
    spec = {**SPEC, "max_epochs": EPOCHS}
    undisturbed = ended(client, submit(client, spec))

    job_id, killed = submit(client, spec), 0
    while killed < KILLS and not get(client, job_id)["finished_at"]:
        before = get(client, job_id)["progress"]["epoch"]
        until(lambda n=before: (job := get(client, job_id))["progress"]["epoch"] > n or job["finished_at"], 60)
        time.sleep(chance.uniform(0, 0.3))
        for trainer in trainers_of(client):
            os.kill(trainer, signal.SIGKILL)
            killed += 1
    job = ended(client, job_id)

    assert (job["status"], killed) == ("succeeded", KILLS), job["error"]
    assert job["attempt"] > KILLS / 2  # a kill while nothing was claimed costs no attempt
    one, other = outcome(client, undisturbed), outcome(client, job)
    assert one == other
    assert [row["epoch"] for row in other[2]] == list(range(1, EPOCHS + 1))


@linux_only
def test_a_hanging_trainer_is_killed_and_its_job_resumes(saving_often: httpx2.Client) -> None:
    spec = {**SPEC, "max_epochs": 400}
    undisturbed = ended(saving_often, submit(saving_often, spec))
    job_id = submit(saving_often, spec)
    until(lambda: get(saving_often, job_id)["progress"]["epoch"] > 20)

    (trainer,) = trainers_of(saving_often)
    os.kill(trainer, signal.SIGSTOP)

    job = ended(saving_often, job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job["error"]
    assert outcome(saving_often, job) == outcome(saving_often, undisturbed)


@linux_only
def test_a_stopping_worker_saves_and_another_one_resumes(tmp_path: Path) -> None:
    settings = {"BESTEPOCH_TRAINERS": "1", "BESTEPOCH_LOG_LEVEL": "error"}
    with running_service(tmp_path, **artifacts_environment(tmp_path), **settings) as client:
        spec = {**SPEC, "max_epochs": 400}
        undisturbed = ended(client, submit(client, spec))
        job_id = submit(client, spec)
        until(lambda: get(client, job_id)["progress"]["epoch"] > 20)
        os.kill(worker_of(client), signal.SIGTERM)  # the service starts another

        job = ended(client, job_id)

        assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 2, 0)
        assert outcome(client, job) == outcome(client, undisturbed)
