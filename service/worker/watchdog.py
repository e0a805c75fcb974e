"""Whether a trainer gets on, and what it died of."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from service.domain.status import ErrorCode

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from service.training.epoch import ProgressCounter


def new_progress_counter(context: BaseContext) -> ProgressCounter:
    """A count that lies in memory which a process that `context` starts shares with this one."""
    return cast("ProgressCounter", context.RawValue("Q", 0))


class Watchdog:
    """What the supervisor knows of a trainer's health."""

    def __init__(self, progress: ProgressCounter) -> None:
        self.progress = progress
        self._seen = progress.value
        self._moved_at = time.monotonic()
        self._kills = _kills_for_memory()
        self.stalled_for = 0.0  # seconds; above 0: it was killed for that

    def moved(self) -> None:
        """Count anew: it has got something to do, or could not be expected to get on."""
        self._moved_at = time.monotonic()

    def still(self) -> float:
        """Seconds without progress."""
        if self.progress.value != self._seen:
            self._seen, self._moved_at = self.progress.value, time.monotonic()
        return time.monotonic() - self._moved_at

    def cause_of_death(self, code: int | None) -> tuple[ErrorCode, str]:
        """What it died of, in words; `code`: the process's exit code."""
        if self.stalled_for:
            return ErrorCode.stalled, f"no progress for {self.stalled_for:.0f} s"
        if code == -9 and _kills_for_memory() > self._kills:
            return ErrorCode.out_of_memory, "the kernel killing it as memory ran out"
        return ErrorCode.worker_lost, f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _kills_for_memory() -> int:
    """How many processes Linux has killed because memory ran out, here or in any control group of this machine."""
    counters = Path("/proc/vmstat")
    lines = counters.read_text().splitlines() if counters.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
