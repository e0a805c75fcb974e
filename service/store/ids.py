"""Row ids: unique across processes, and sortable by creation time."""

from __future__ import annotations

import os
import threading
import time

_process = os.urandom(4).hex()
_lock = threading.Lock()
_latest = 0


def new_id(prefix: str) -> str:
    """A new id such as `job_18d2f3c1a2b40007d1e2f3a4`: Unix time in nanoseconds, then a random id of the process."""
    global _latest
    with _lock:
        _latest = max(_latest + 1, time.time_ns())  # strictly increasing, whatever the clock's resolution
        return f"{prefix}_{_latest:016x}{_process}"
