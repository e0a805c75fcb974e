"""A trainer killed by Linux's OOM killer is distinguished from other crashes."""

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
    """The `cgroup.procs` file of a cgroup with little memory."""
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
def test_an_oom_kill_is_distinguished_from_other_kills(little_memory: Path) -> None:
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
