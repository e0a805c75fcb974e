"""A job on several devices: killed ranks end an attempt, and the next one has the bits of an undisturbed run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.local_service import running_service
from tests.processes import get, linux_only, submit, trainers_of, until
from tests.specs import REFERENCE

JOB: dict[str, Any] = {
    **REFERENCE,
    "batch_size": 100,
    "early_stopping": None,
    "max_epochs": 150,
    "parallel": {"devices": 2},
}


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[httpx2.Client]:
    """A service with this many trainers; with one, a job on two devices starts another."""
    settings = {"BESTEPOCH_TRAINERS": request.param, "BESTEPOCH_LEASE_SECONDS": "2", "BESTEPOCH_SAVE_SECONDS": "0.2"}
    with running_service(tmp_path, **settings) as client:
        yield client


@linux_only
@pytest.mark.parametrize("service", ["1", "2"], indirect=True)
def test_a_job_on_two_devices_resumes_to_the_same_bits_whichever_rank_is_killed(service: httpx2.Client) -> None:
    undisturbed = get(service, submit(service, JOB), wait=60)
    assert undisturbed["status"] == "succeeded", undisturbed["error"]

    disturbed = submit(service, JOB)
    for attempt in (1, 2):
        until(lambda n=attempt: (job := get(service, disturbed))["attempt"] == n and job["progress"]["epoch"] >= 20 * n)
        victim = trainers_of(service)[-attempt]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda n=attempt: get(service, disturbed)["attempt"] > n)
        assert time.monotonic() - killed < 10.0

    ended = get(service, disturbed, wait=60)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 3)
    assert ended["best"]["checkpoint"]["sha256"] == undisturbed["best"]["checkpoint"]["sha256"]
    until(lambda: len(trainers_of(service)) <= 2)
