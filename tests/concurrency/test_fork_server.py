"""Servers that fork processes: they free no memory at their end, and the processes keep their exit codes."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from service.concurrency.fork_server import forked_from

SERVERS = ["service.worker.trainer_server", "service.serving.helper_server"]

END = """
import importlib, os, sys

importlib.import_module(sys.argv[1])

class Object:
    def __del__(self):
        os.write(1, b"freed")

kept = Object()
"""


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_ends_without_freeing_its_memory(server: str) -> None:
    ended = subprocess.run([sys.executable, "-c", END, server], capture_output=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_process_that_it_forks_keeps_its_exit_code() -> None:
    process = forked_from(SERVERS[0]).Process(target=sys.exit, args=(7,))
    process.start()
    process.join()

    assert process.exitcode == 7


def exit_with_collected_share() -> None:
    sys.exit(int(gc.isenabled()) + 2 * (gc.get_freeze_count() > len(gc.get_objects())))


def test_garbage_is_collected_in_what_the_process_makes_alone() -> None:
    process = forked_from(SERVERS[0]).Process(target=exit_with_collected_share)
    process.start()
    process.join()

    assert process.exitcode == 3
