"""Concurrency limits of expensive work: the slots of each kind, and how many of them one tenant may hold.

The difference stays free for other tenants, however long the work takes. See decision 43.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOTS: Mapping[str, tuple[int, int]] = {
    "ingest": (3, 2),  # each starts a process that reads a file
    "fetch": (4, 3),  # each starts a process that waits for another server
    "store": (4, 3),  # a part of an upload, to the artifact store: 16 MiB of memory
    "predict": (16, 12),  # they share one helper process
    "export": (2, 1),  # each starts a process with torch
    "preview": (4, 3),  # each starts a process that reads some rows
    "plan": (8, 6),  # planning or submitting a job: the profile of a wide data set takes a second to read
    "report": (2, 1),  # each starts a process with torch, for seconds of two cores
    "compute": (4, 2),  # seconds of CPU time in this process
}
