"""CPU time of processes on Linux."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """CPU time of all processes that this one has started, with those that they have started; ended ones included.

    A process that has ended counts once the one that started it has waited for it.
    """
    parents, seconds = dict[int, int](), dict[int, float]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        process = int(stat.parent.name)
        parents[process] = int(fields[1])
        seconds[process] = sum(map(int, fields[11:15])) / TICKS  # its own, and that of children it has waited for
    return sum(own for process, own in seconds.items() if _descends(process, parents))


def _descends(process: int, parents: dict[int, int]) -> bool:
    """Whether this process has started it, directly or not."""
    while (process := parents.get(process, 0)) > 1:
        if process == os.getpid():
            return True
    return False
