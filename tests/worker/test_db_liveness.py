"""Who was out of touch with the database judges nobody for the time of a lease."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from service.worker.db_liveness import Contact

LEASE = 0.4


def keep_in_touch(contact: Contact, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        contact.made()
        time.sleep(0.01)


def test_contact_lasts_after_a_leases_time_and_no_sooner() -> None:
    contact = Contact(LEASE)

    keep_in_touch(contact, LEASE * 0.7)
    assert not contact.lasting

    keep_in_touch(contact, LEASE * 0.5)
    assert contact.lasting


def test_an_outage_starts_the_time_anew() -> None:
    contact = Contact(LEASE)
    keep_in_touch(contact, LEASE * 1.2)

    time.sleep(LEASE * 0.6)
    assert contact.broken
    contact.made()

    assert not contact.lasting
    keep_in_touch(contact, LEASE * 1.2)
    assert contact.lasting


def test_a_moment_without_an_answer_is_no_outage() -> None:
    contact = Contact(LEASE)
    keep_in_touch(contact, LEASE * 1.2)

    time.sleep(LEASE * 0.2)
    contact.made()

    assert contact.lasting


def test_a_process_that_was_stopped_knows_that_it_was_out_of_touch() -> None:
    code = (
        "import sys; from service.worker.db_liveness import Contact\n"
        f"contact = Contact({LEASE}); contact.made(); print('made', flush=True)\n"
        "sys.stdin.readline(); print(contact.broken)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()

    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(LEASE)
    os.kill(process.pid, signal.SIGCONT)

    assert process.communicate("go on\n")[0] == "True\n"
