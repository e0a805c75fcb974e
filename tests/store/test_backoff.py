"""Exponential backoff with jitter."""

from __future__ import annotations

import time

from service.store.backoff import Backoff


def test_each_failure_doubles_the_delay_up_to_the_maximum() -> None:
    backoff = Backoff(0.1, 2.0)

    waits = [backoff.failed() for _ in range(8)]

    for wait, full in zip(waits, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0], strict=True):
        assert full / 2 <= wait <= full


def test_reset_restores_the_initial_delay() -> None:
    backoff = Backoff(0.1, 2.0)
    for _ in range(5):
        backoff.failed()

    backoff.reset()

    assert backoff.failed() <= 0.1


def test_it_waits_for_the_returned_delay() -> None:
    backoff = Backoff(0.05, 0.05)
    assert not backoff.is_waiting()

    seconds = backoff.failed()
    assert backoff.is_waiting()
    time.sleep(seconds)

    assert not backoff.is_waiting()
