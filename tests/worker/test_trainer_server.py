"""The server that forks trainers: it frees no memory at its end, and trainers keep their exit codes."""

from __future__ import annotations

import gc
import subprocess
import sys

from service.worker.trainer_handle import start_context

END = """
import os, service.worker.trainer_server

class Object:
    def __del__(self):
        os.write(1, b"freed")

kept = Object()
"""


def test_the_server_ends_without_freeing_its_memory() -> None:
    ended = subprocess.run([sys.executable, "-c", END], capture_output=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_process_that_it_forks_keeps_its_exit_code() -> None:
    process = start_context(cuda=False).Process(target=sys.exit, args=(7,))
    process.start()
    process.join()

    assert process.exitcode == 7


def exit_with_collected_share() -> None:
    sys.exit(int(gc.isenabled()) + 2 * (gc.get_freeze_count() > len(gc.get_objects())))


def test_garbage_is_collected_in_what_a_trainer_makes_alone() -> None:
    process = start_context(cuda=False).Process(target=exit_with_collected_share)
    process.start()
    process.join()

    assert process.exitcode == 3
