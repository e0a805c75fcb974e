"""How long a supervisor has been in touch with the database: who has just come back must not judge others dead."""

from __future__ import annotations

import time

# Goes on while the machine sleeps, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class DbLiveness:
    """Measures unbroken liveness by this machine's own clock, which neither a stopped process nor sleep holds up.

    Two successes more than half a lease apart are not one liveness: leases that others could not renew meanwhile may
    have lapsed, through no fault of theirs. After a lease's time of liveness whoever lives has renewed again.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._since = self._latest = _now()

    def made(self) -> None:
        """The database has just answered."""
        if self.broken:
            self._since = _now()
        self._latest = _now()

    @property
    def broken(self) -> bool:
        """Whether the last answer is too long ago to know anything of the others."""
        return _now() - self._latest > self._lease_seconds / 2

    @property
    def lasting(self) -> bool:
        """Whether it has lasted for a lease's time: a lease that has lapsed is its holder's own fault."""
        return not self.broken and _now() - self._since >= self._lease_seconds


def _now() -> float:
    return time.clock_gettime(_CLOCK)
