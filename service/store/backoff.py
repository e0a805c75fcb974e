"""Exponential backoff with jitter, as a value that event loops can poll."""

from __future__ import annotations

import random
import time


class Backoff:
    """Delays from `initial` to `maximum` seconds: doubled after each failure, times a random 0.5 to 1."""

    def __init__(self, initial: float, maximum: float) -> None:
        self._initial, self._maximum = initial, maximum
        self._next = initial
        self.until = 0.0  # on time.monotonic()

    def is_waiting(self) -> bool:
        """Whether it is too early for the next try."""
        return time.monotonic() < self.until

    def failed(self) -> float:
        """Record a failure; returns the seconds until the next try."""
        seconds = self._next * random.uniform(0.5, 1.0)
        self.until = time.monotonic() + seconds
        self._next = min(2 * self._next, self._maximum)
        return seconds

    def reset(self) -> None:
        """Record a success: the next failure waits for the initial delay."""
        self._next = self._initial
