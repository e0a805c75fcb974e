"""Database liveness: a reconnected supervisor reaps no leases until a lease's time has passed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from service.worker.db_liveness import DbLiveness

LEASE = 0.4


def keep_in_touch(liveness: DbLiveness, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        liveness.record_answer()
        time.sleep(0.01)


def test_a_connection_is_stable_after_a_leases_time_and_no_sooner() -> None:
    liveness = DbLiveness(LEASE)

    keep_in_touch(liveness, LEASE * 0.7)
    assert not liveness.stable

    keep_in_touch(liveness, LEASE * 0.5)
    assert liveness.stable


def test_an_outage_restarts_the_time() -> None:
    liveness = DbLiveness(LEASE)
    keep_in_touch(liveness, LEASE * 1.2)

    time.sleep(LEASE * 0.6)
    assert liveness.interrupted
    liveness.record_answer()

    assert not liveness.stable
    keep_in_touch(liveness, LEASE * 1.2)
    assert liveness.stable


def test_a_short_gap_is_no_interruption() -> None:
    liveness = DbLiveness(LEASE)
    keep_in_touch(liveness, LEASE * 1.2)

    time.sleep(LEASE * 0.2)
    liveness.record_answer()

    assert liveness.stable


def test_a_stopped_process_counts_as_interrupted() -> None:
    code = (
        "import sys; from service.worker.db_liveness import DbLiveness\n"
        f"liveness = DbLiveness({LEASE}); liveness.record_answer(); print('made', flush=True)\n"
        "sys.stdin.readline(); print(liveness.interrupted)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()

    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(LEASE)
    os.kill(process.pid, signal.SIGCONT)

    assert process.communicate("go on\n")[0] == "True\n"
