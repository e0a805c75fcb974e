"""How many workers a cluster should have: as many as there is demand, at once; fewer only after a while."""

from __future__ import annotations

import time


class Scaling:
    """The wanted number of workers, between bounds."""

    def __init__(self, least: int, most: int, trainers: int, patience: float) -> None:
        """`trainers`: of each worker. `patience`: seconds of lower demand until there are fewer workers."""
        self._least, self._most, self._trainers, self._patience = least, most, trainers, patience
        self._wanted = least
        self._high_at = time.monotonic()

    def wanted(self, arrays: int) -> int:
        """The number of workers for so many queued and running arrays."""
        needed = min(max(-(-arrays // self._trainers), self._least), self._most)
        now = time.monotonic()
        if needed >= self._wanted:
            self._high_at = now
            self._wanted = needed
        elif now - self._high_at >= self._patience:
            self._wanted = needed
        return self._wanted
