"""Processes that are killed, stopped and started: no job is lost, nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch

from examples.local_service import running_service
from tests.specs import REFERENCE

ENDLESS: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 2_000},
    "max_epochs": 1_000_000,
    "early_stopping": None,
}


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A service for one test alone, to be maltreated."""
    with running_service(tmp_path, BESTEPOCH_TRAINERS="1", BESTEPOCH_LEASE_SECONDS="2") as client:
        yield client


def children(pid: int) -> list[int]:
    """Every process below this one, from /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(status.parent.name)
            found += [child, *children(child)]
    return found


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def worker_of(client: httpx2.Client) -> int:
    """The supervisor's process id."""
    return int(client.get("/v1/workers").json()["data"][-1]["pid"])


def trainers_of(client: httpx2.Client) -> list[int]:
    """Processes that a forkserver of the supervisor forked."""
    servers = [pid for pid in children(worker_of(client)) if "forkserver" in command(pid)]
    return [pid for pid in servers if any(pid in children(server) for server in servers)]


def until(condition: Any, seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return result


def submit(client: httpx2.Client, spec: dict[str, Any]) -> str:
    return str(client.post("/v1/jobs", json=spec).json()["id"])


def get(client: httpx2.Client, job_id: str, **params: Any) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}", params=params).json()
    return job


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc, which only Linux has")


@linux_only
def test_a_killed_trainer_costs_the_job_nothing_but_time(own_service: httpx2.Client) -> None:
    spec = {**REFERENCE, "early_stopping": None, "max_epochs": 1_500}
    undisturbed = get(own_service, submit(own_service, spec), wait=60)

    disturbed = submit(own_service, spec)
    until(lambda: get(own_service, disturbed)["progress"]["epoch"] > 0)
    (trainer,) = trainers_of(own_service)
    os.kill(trainer, signal.SIGKILL)

    ended = get(own_service, disturbed, wait=60)
    assert (ended["status"], ended["attempt"], ended["failures"]) == ("succeeded", 2, 1)
    assert ended["best"]["checkpoint"]["sha256"] == undisturbed["best"]["checkpoint"]["sha256"]
    history = own_service.get(f"/v1/jobs/{disturbed}/history", params={"limit": 1000}).json()
    assert [row["epoch"] for row in history["data"]] == list(range(1, 1_001))


@linux_only
def test_a_job_that_kills_its_trainer_every_time_fails_with_the_log(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, ENDLESS)

    for attempt in (1, 2, 3):
        until(lambda n=attempt: (job := get(own_service, job_id))["attempt"] == n and job["progress"]["epoch"] > 0)
        (trainer,) = until(lambda: trainers_of(own_service))
        os.kill(trainer, signal.SIGABRT)
        until(lambda n=attempt: get(own_service, job_id)["failures"] == n)

    failed = get(own_service, job_id, wait=20)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "worker_lost")
    assert "Fatal Python error: Aborted" in failed["error"]["log_tail"]
    assert failed["best"]["checkpoint"] is not None
    assert own_service.get(failed["best"]["checkpoint"]["download_url"]).status_code == 200


@linux_only
def test_a_killed_worker_is_replaced_and_its_job_goes_on(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, ENDLESS)
    until(lambda: get(own_service, job_id)["progress"]["epoch"] > 0)
    before = worker_of(own_service)

    os.kill(before, signal.SIGKILL)

    until(lambda: (job := get(own_service, job_id))["attempt"] == 2 and job["status"] == "running", 30)
    assert worker_of(own_service) != before
    assert own_service.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert get(own_service, job_id, wait=20)["status"] == "cancelled"


@linux_only
def test_a_worker_that_dies_with_its_trainers_loses_its_jobs_when_the_lease_lapses(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, ENDLESS)
    until(lambda: get(own_service, job_id)["progress"]["epoch"] > 0)
    worker = worker_of(own_service)

    for pid in [worker, *children(worker)]:
        os.kill(pid, signal.SIGKILL)

    job = until(lambda: (job := get(own_service, job_id))["attempt"] == 2 and job, 30)
    assert (job["failures"], job["status"]) == (1, "running")


@linux_only
def test_asked_twice_a_worker_stops_at_once(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, {**ENDLESS, "data": {"kind": "synthetic", "rows": 2_000_000}, "batch_size": 1_000})
    until(lambda: get(own_service, job_id)["status"] == "running")
    worker = worker_of(own_service)
    everyone = [worker, *children(worker)]

    os.kill(worker, signal.SIGTERM)
    time.sleep(0.5)
    os.kill(worker, signal.SIGTERM)

    until(lambda: not any(alive(pid) for pid in everyone), 5)


@linux_only
def test_a_gpu_that_this_torch_cannot_use_is_left_alone(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA Something (UUID: GPU-1)'\n")
    program.chmod(0o755)
    if torch.cuda.is_available():
        pytest.skip("this torch can use a GPU")

    with running_service(tmp_path / "home", PATH=f"{tmp_path}:{os.environ['PATH']}") as client:
        job = get(client, submit(client, REFERENCE), wait=30)

    assert (job["status"], job["device"]) == ("succeeded", "cpu")


def test_cancelling_a_running_job_keeps_its_best(own_service: httpx2.Client) -> None:
    job_id = submit(own_service, ENDLESS)
    until(lambda: get(own_service, job_id)["best"])

    answer = own_service.post(f"/v1/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["control"]) == (202, "cancel")
    ended = get(own_service, job_id, wait=20)
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert own_service.get(ended["best"]["checkpoint"]["download_url"]).status_code == 200


@linux_only
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_service_stops_cleanly_and_gives_its_job_back(tmp_path: Path, how: signal.Signals) -> None:
    with running_service(tmp_path, BESTEPOCH_TRAINERS="1") as client:
        job_id = submit(client, ENDLESS)
        until(lambda: get(client, job_id)["progress"]["epoch"] > 0)
        service = parent_of(worker_of(client))
        everyone = [service, *children(service)]

        os.kill(service, how)
        until(lambda: not any(alive(pid) for pid in everyone), 30)

    with running_service(tmp_path, BESTEPOCH_TRAINERS="1") as client:
        job = until(lambda: (job := get(client, job_id))["attempt"] == 2 and job)
        assert (job["failures"], job["error"]) == (0, None)


@linux_only
def test_nothing_survives_a_service_that_is_killed(tmp_path: Path) -> None:
    with running_service(tmp_path, BESTEPOCH_TRAINERS="1") as client:
        submit(client, ENDLESS)
        service = parent_of(worker_of(client))
        everyone = [service, *children(service)]

        os.kill(service, signal.SIGKILL)

        until(lambda: not any(alive(pid) for pid in everyone), 30)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BESTEPOCH_HOST": "0.0.0.0"}, "set BESTEPOCH_API_KEY"),
        ({"BESTEPOCH_PORT": "many"}, "BESTEPOCH_PORT: Input should be a valid integer"),
        ({"BESTEPOCH_DATABASE_URL": "nonsense"}, "BESTEPOCH_DATABASE_URL must be"),
        ({"BESTEPOCH_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, "the database cannot be reached"),
        ({"BESTEPOCH_HOME": "/dev/null/x"}, "Not a directory"),
    ],
)
def test_what_an_operator_can_mend_is_said_in_a_line(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    environment = {**os.environ, "BESTEPOCH_HOME": str(tmp_path), **settings}

    ended = subprocess.run(
        [sys.executable, "-m", "service.cli", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@linux_only
def test_the_api_has_no_torch_in_memory(own_service: httpx2.Client) -> None:
    service = parent_of(worker_of(own_service))

    assert "libtorch" not in Path(f"/proc/{service}/maps").read_text()
    assert "libtorch" in Path(f"/proc/{trainers_of(own_service)[0]}/maps").read_text()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
