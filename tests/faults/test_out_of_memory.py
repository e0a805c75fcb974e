"""Linux kills a trainer as memory runs out: told apart from other deaths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from service.domain.status import ErrorCode
from service.worker.watchdog import Watchdog, new_progress_counter
from tests.processes import linux_only

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


def greedy(told: Connection) -> None:
    told.recv()
    b"x" * (500 * 2**20)


@linux_only
def test_a_process_that_linux_kills_for_its_memory_is_told_apart_from_one_that_is_killed(little_memory: Path) -> None:
    context = get_context("forkserver")
    causes = []
    for confined in (True, False):
        ours, theirs = context.Pipe()
        process = context.Process(target=greedy, args=(theirs,))
        process.start()
        watchdog = Watchdog(new_progress_counter(context))
        if confined:
            little_memory.write_text(str(process.pid))
            ours.send("go")
        else:
            process.kill()
        process.join(60)
        causes.append(watchdog.crash_cause(process.exitcode))

    assert causes == [
        (ErrorCode.out_of_memory, "killed by the kernel: out of memory"),
        (ErrorCode.worker_lost, "signal 9"),
    ]
