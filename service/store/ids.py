"""Ids of rows: they sort by time, and no two processes make the same."""

from __future__ import annotations

import os
import threading
import time

_process = os.urandom(4).hex()
_clock = threading.Lock()
_latest = 0


def new_id(prefix: str) -> str:
    """A fresh id such as `job_18d2f3c1a2b40007d1e2f3a4`: nanoseconds, then bits of this process; sorts by time."""
    global _latest
    with _clock:
        _latest = max(_latest + 1, time.time_ns())  # strictly later, whatever the clock's resolution
        return f"{prefix}_{_latest:016x}{_process}"
