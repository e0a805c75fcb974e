"""Linux kills a trainer as memory runs out: told apart from other deaths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from examples.local_service import running_service
from tests.processes import get, linux_only, submit, trainers_of, until

CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """The file that a process id is written to, for its process to have little memory from then on."""
    old = (CGROUPS / "memory/memory.limit_in_bytes").exists()
    folder = CGROUPS / ("memory" if old else "") / f"bestepoch-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(100 * 2**20))
        yield folder / "cgroup.procs"
    except OSError as error:
        pytest.skip(f"needs the right to make a control group for memory: {error}")
    finally:
        with suppress(OSError):
            folder.rmdir()


@linux_only
def test_a_trainer_that_linux_kills_for_its_memory_is_told_apart(tmp_path: Path, little_memory: Path) -> None:
    with running_service(tmp_path, BESTEPOCH_TRAINERS="1", BESTEPOCH_LOG_LEVEL="error") as client:
        wide = {"data": {"kind": "synthetic", "rows": 50_000, "features": 200}, "max_epochs": 1}
        job_id = submit(client, wide)

        failed = until(lambda: _confine(client, little_memory) and get(client, job_id, wait=1)["finished_at"], 120)

        assert failed
        job = get(client, job_id)
        assert (job["status"], job["error"]["code"]) == ("failed", "out_of_memory")


def _confine(client: httpx2.Client, procs: Path) -> bool:
    for trainer in trainers_of(client):
        with suppress(OSError):  # it has just died
            procs.write_text(str(trainer))
    return True
