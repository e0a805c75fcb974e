"""The cores of this machine that a process may use."""

from __future__ import annotations

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: "350000 100000" is three and a half cores


def cpu_count() -> int:
    """Cores that this process may use: its CPU affinity, within the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, QUOTA.read_text().split())
    except (OSError, ValueError):  # no control group, or one without a quota
        return cores
    return max(1, min(cores, quota // period))
