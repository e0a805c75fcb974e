"""How long a supervisor has been connected to the database: a reconnected one must not reap others' leases."""

from __future__ import annotations

import time

# This clock also advances while the machine is suspended, where the platform has such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class DbLiveness:
    """Measures uninterrupted connection by this machine's clock, which counts stopped and suspended time too.

    Two answers more than half a lease apart are an interruption: during an outage nobody could renew a lease, so leases
    may have lapsed without their holders' fault. After a full lease time of connection every live worker has renewed.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._since = self._latest = _now()

    def record_answer(self) -> None:
        """The database has just answered."""
        if self.interrupted:
            self._since = _now()
        self._latest = _now()

    @property
    def interrupted(self) -> bool:
        """Whether the last answer is more than half a lease ago."""
        return _now() - self._latest > self._lease_seconds / 2

    @property
    def stable(self) -> bool:
        """Whether the connection has lasted for a lease's time: then a lapsed lease means a dead worker."""
        return not self.interrupted and _now() - self._since >= self._lease_seconds


def _now() -> float:
    return time.clock_gettime(_CLOCK)
