"""Processes are killed, stopped and restarted: no job is lost, no process is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from examples.local_service import running_service
from tests.object_store import artifacts_environment
from tests.processes import ENDLESS, alive, children, get, linux_only, parent_of, submit, trainers_of, until, worker_of
from tests.specs import REFERENCE


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A service for one test, for fault injection."""
    with running_service(
        tmp_path, **artifacts_environment(tmp_path), BESTEPOCH_TRAINERS="1", BESTEPOCH_LEASE_SECONDS="2"
    ) as client:
        yield client


def counted(client: httpx2.Client, what: str) -> float:
    """A counter of live workers, from `/metrics`."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"bestepoch_worker_{what}_total{{"))


@linux_only
def test_a_killed_trainer_only_delays_the_job(own_service: httpx2.Client) -> None:
    spec = {**REFERENCE, "early_stopping": None, "max_epochs": 1_500}
    undisturbed = get(own_service, submit(own_service, spec), wait=60)

    disturbed = submit(own_service, spec)
    until(lambda: get(own_service, disturbed)["progress"]["epoch"] > 0)
    (trainer,) = trainers_of(own_service)
    os.kill(trainer, signal.SIGKILL)

    ended = get(own_service, disturbed, wait=60)
    # Not `failures`, which the second attempt has set back if it took long enough to save its state.
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    assert ended["best"]["checkpoint"]["sha256"] == undisturbed["best"]["checkpoint"]["sha256"]
    history = own_service.get(f"/v1/jobs/{disturbed}/history", params={"limit": 1000}).json()
    assert [row["epoch"] for row in history["data"]] == list(range(1, 1_001))
    until(lambda: counted(own_service, "trainer_restarts") == 1)


@linux_only
def test_a_job_that_always_kills_its_trainer_fails_and_keeps_every_log(
    own_service: httpx2.Client, tmp_path: Path
) -> None:
    job_id = submit(own_service, ENDLESS)

    for attempt in (1, 2, 3):
        until(lambda n=attempt: (job := get(own_service, job_id))["attempt"] == n and job["progress"]["epoch"] > 0)
        (trainer,) = until(lambda: trainers_of(own_service))
        os.kill(trainer, signal.SIGABRT)
        until(lambda n=attempt: get(own_service, job_id)["failures"] == n)

    failed = get(own_service, job_id, wait=20)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "worker_lost")
    assert "Fatal Python error: Aborted" in failed["error"]["log_tail"]
    log = own_service.get(f"/v1/jobs/{job_id}/events").json()["data"]
    tails = [event["details"]["log_tail"] for event in log if event["kind"] in ("retried", "ended")]
    assert [f"attempt={attempt}" in tail for attempt, tail in enumerate(tails, start=1)] == [True] * 3
    assert all("Fatal Python error: Aborted" in tail for tail in tails)
    files = [tmp_path / f"logs/{job_id}-{attempt}.log" for attempt in (1, 2, 3)]
    assert all("Fatal Python error: Aborted" in file.read_text() for file in files)
    assert failed["best"]["checkpoint"] is not None
    assert own_service.get(failed["best"]["checkpoint"]["download_url"]).status_code == 200


@linux_only
def test_a_killed_worker_is_replaced_and_its_job_resumes(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, ENDLESS)
    until(lambda: get(own_service, job_id)["progress"]["epoch"] > 0)
    before = worker_of(own_service)

    os.kill(before, signal.SIGKILL)

    until(lambda: (job := get(own_service, job_id))["attempt"] == 2 and job["status"] == "running", 30)
    assert worker_of(own_service) != before
    assert own_service.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert get(own_service, job_id, wait=20)["status"] == "cancelled"


@linux_only
def test_jobs_of_a_dead_worker_are_requeued_when_the_lease_expires(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, ENDLESS)
    until(lambda: get(own_service, job_id)["progress"]["epoch"] > 0)
    worker = worker_of(own_service)

    for pid in [worker, *children(worker)]:
        os.kill(pid, signal.SIGKILL)

    job = until(lambda: (job := get(own_service, job_id))["attempt"] == 2 and job, 30)
    assert (job["failures"], job["status"]) == (1, "running")
    until(lambda: counted(own_service, "lapsed_leases") == 1)


@linux_only
def test_a_second_signal_stops_a_worker_at_once(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, {**ENDLESS, "data": {"kind": "synthetic", "rows": 2_000_000}, "batch_size": 1_000})
    until(lambda: get(own_service, job_id)["status"] == "running")
    worker = worker_of(own_service)
    everyone = [worker, *children(worker)]

    os.kill(worker, signal.SIGTERM)
    time.sleep(0.5)
    os.kill(worker, signal.SIGTERM)

    until(lambda: not any(alive(pid) for pid in everyone), 5)


@linux_only
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_service_stops_gracefully_and_requeues_its_job(tmp_path: Path, how: signal.Signals) -> None:
    with running_service(tmp_path, **artifacts_environment(tmp_path), BESTEPOCH_TRAINERS="1") as client:
        job_id = submit(client, ENDLESS)
        until(lambda: get(client, job_id)["progress"]["epoch"] > 0)
        service = parent_of(worker_of(client))
        everyone = [service, *children(service)]

        os.kill(service, how)
        until(lambda: not any(alive(pid) for pid in everyone), 30)

    with running_service(tmp_path, **artifacts_environment(tmp_path), BESTEPOCH_TRAINERS="1") as client:
        job = until(lambda: (job := get(client, job_id))["attempt"] == 2 and job)
        assert (job["failures"], job["error"]) == (0, None)


@linux_only
def test_no_process_survives_a_killed_service(tmp_path: Path) -> None:
    with running_service(tmp_path, **artifacts_environment(tmp_path), BESTEPOCH_TRAINERS="1") as client:
        submit(client, ENDLESS)
        service = parent_of(worker_of(client))
        everyone = [service, *children(service)]

        os.kill(service, signal.SIGKILL)

        until(lambda: not any(alive(pid) for pid in everyone), 30)
