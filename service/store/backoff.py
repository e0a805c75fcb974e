"""When to try the database again: later each time, and not when everybody else does."""

from __future__ import annotations

import random
import time


class Backoff:
    """Waits from `first` to `most` seconds, twice as long after each failure, a random half to all of it."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._next = first
        self.until = 0.0  # on time.monotonic()

    def is_waiting(self) -> bool:
        """Whether it is too soon to try again."""
        return time.monotonic() < self.until

    def failed(self) -> float:
        """It failed; the seconds until the next try."""
        seconds = self._next * random.uniform(0.5, 1.0)
        self.until = time.monotonic() + seconds
        self._next = min(2 * self._next, self._most)
        return seconds

    def reset(self) -> None:
        """It went well."""
        self._next = self._first
