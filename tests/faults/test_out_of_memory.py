"""Linux kills a trainer as memory runs out: told apart from other deaths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from examples.local_service import running_service
from tests.processes import children, get, linux_only, submit, until, worker_of

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
        for pid in children(worker_of(client)):  # with the server that forks trainers, so that the next ones are too
            little_memory.write_text(str(pid))
        job_id = submit(client, {"data": {"kind": "synthetic", "rows": 50_000, "features": 200}, "max_epochs": 1})

        job = until(lambda: (job := get(client, job_id, wait=1))["finished_at"] and job, 60)

    assert (job["status"], job["failures"], job["error"]["code"]) == ("failed", 3, "out_of_memory")
