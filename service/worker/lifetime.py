"""When a worker exits by itself: idle for too long, or after a number of jobs."""

from __future__ import annotations

import time


class Lifetime:
    """The limits of a worker's life; 0: no limit."""

    def __init__(self, idle_seconds: float, max_jobs: int) -> None:
        """`idle_seconds`: exit after so long without a job. `max_jobs`: exit after so many."""
        self._idle_seconds, self._max_jobs = idle_seconds, max_jobs
        self._busy_at = time.monotonic()

    def jobs_left(self, claimed: int) -> int | None:
        """How many more jobs it may claim; None: any number."""
        return max(self._max_jobs - claimed, 0) if self._max_jobs else None

    def end(self, *, busy: bool, reserved: bool, claimed: int) -> str | None:
        """Why the worker should exit now, if it should. `busy`: it trains, or its trainers start. `reserved`: it waits
        for other workers, with which it will train a job on several devices."""
        now = time.monotonic()
        if busy or reserved:
            self._busy_at = now
        if busy:
            return None
        if self.jobs_left(claimed) == 0:
            return f"it has trained {claimed:,} {'job' if claimed == 1 else 'jobs'}"
        idle = now - self._busy_at
        return f"it was idle for {idle:.0f} s" if 0 < self._idle_seconds <= idle else None
