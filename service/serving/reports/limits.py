"""The errors of a report that needs more time or memory than it may; a retry does not help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import Conflict

if TYPE_CHECKING:
    from service.data.processes.runner import Allowance

FEWER = "train a job on fewer rows or columns, or with a smaller network, for a report"


def too_slow(allowed: Allowance) -> Conflict:
    """The report took too long."""
    most = f"{allowed.seconds:g} seconds"
    return Conflict(f"the report took longer than {most}, the limit here (BESTEPOCH_MAX_INGEST_SECONDS); {FEWER}")


def too_much_memory(allowed: Allowance) -> Conflict:
    """The report needs too much memory."""
    most = f"{allowed.memory_bytes / 2**20:,.0f} MiB"
    return Conflict(
        f"the report needs more than {most} of memory, the limit here (BESTEPOCH_MAX_INGEST_BYTES); {FEWER}"
    )
