"""Watchdog of a trainer process: detects stalls by its progress counter, and finds the cause of a crash."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from service.domain.status import ErrorCode

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from service.training.progress import ProgressCounter


def new_progress_counter(context: BaseContext) -> ProgressCounter:
    """A counter in memory that this process shares with a process that `context` starts."""
    return cast("ProgressCounter", context.RawValue("Q", 0))


class Watchdog:
    """Watches one trainer process."""

    def __init__(self, progress: ProgressCounter) -> None:
        self.progress = progress
        self._seen = progress.value
        self._progressed_at = time.monotonic()
        self._oom_kills = _count_oom_kills()
        self.stalled_seconds = 0.0  # above 0: killed for making no progress for so long

    def reset(self) -> None:
        """Start the time without progress again: the trainer got new jobs, or could not make progress."""
        self._progressed_at = time.monotonic()

    def seconds_without_progress(self) -> float:
        """Time since the counter last changed."""
        if self.progress.value != self._seen:
            self._seen, self._progressed_at = self.progress.value, time.monotonic()
        return time.monotonic() - self._progressed_at

    def crash_cause(self, exit_code: int | None) -> tuple[ErrorCode, str]:
        """Why the process died: the error's code and a description."""
        if self.stalled_seconds:
            return ErrorCode.stalled, f"no progress for {self.stalled_seconds:.0f} s"
        if exit_code == -9 and _count_oom_kills() > self._oom_kills:
            return ErrorCode.out_of_memory, "killed by the kernel: out of memory"
        signal = exit_code is not None and exit_code < 0
        return ErrorCode.worker_lost, f"signal {-(exit_code or 0)}" if signal else f"exit code {exit_code}"


def _count_oom_kills() -> int:
    """How many processes Linux has killed for lack of memory, in any control group of this machine."""
    counters = Path("/proc/vmstat")
    lines = counters.read_text().splitlines() if counters.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
