"""The processes of a service: what each is for, how they start and end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import torch

from examples.local_service import running_service
from service.domain.access import new_key
from tests.processes import ENDLESS, get, linux_only, parent_of, submit, trainers_of, until, worker_of
from tests.specs import REFERENCE


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A service for one test alone, to be maltreated."""
    with running_service(tmp_path, BESTEPOCH_TRAINERS="1", BESTEPOCH_LEASE_SECONDS="2") as client:
        yield client


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BESTEPOCH_HOST": "0.0.0.0"}, "create an API key with `bestepoch keys create`, or set BESTEPOCH_API_KEY"),
        (
            {"BESTEPOCH_API_KEY": new_key("key_" + "0" * 24)},
            "BESTEPOCH_API_KEY contains a key that was created with",
        ),
        (
            {"BESTEPOCH_HOST": "0.0.0.0", "BESTEPOCH_API_KEY": "fifteen-letters"},
            "BESTEPOCH_API_KEY has 15 characters, and 0.0.0.0 is a public address: use 16 or more",
        ),
        ({"BESTEPOCH_PORT": "many"}, "BESTEPOCH_PORT: Input should be a valid integer"),
        ({"BESTEPOCH_DATABASE_URL": "nonsense"}, "BESTEPOCH_DATABASE_URL must be"),
        ({"BESTEPOCH_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, "the database cannot be reached"),
        ({"BESTEPOCH_HOME": "/dev/null/x"}, "Not a directory"),
    ],
)
def test_misconfiguration_is_one_line(tmp_path: Path, settings: dict[str, str], said: str) -> None:
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
