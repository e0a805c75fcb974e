"""What happens to a job and why: the log of its life."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from service.spec.base import FrozenModel, OpenEnum


class EventKind(OpenEnum):
    """What happened."""

    queued = "queued"
    claimed = "claimed"
    resumed = "resumed"
    best = "best"
    pause_requested = "pause_requested"
    pause_withdrawn = "pause_withdrawn"
    paused = "paused"
    cancel_requested = "cancel_requested"
    released = "released"
    retried = "retried"
    changed = "changed"
    ended = "ended"


class Event(FrozenModel):
    """One entry of a job's log, which only grows."""

    object: Literal["event"] = "event"
    """What this JSON object is."""
    number: int
    """Counted from 1 for each job, without gaps."""
    at: datetime
    """When it happened (UTC)."""
    kind: EventKind
    """What happened. Clients must accept kinds that they don't know."""
    attempt: int
    """The job's attempt at that time; 0 before the first."""
    message: str
    """What happened and why, in words."""
    details: dict[str, Any]
    """The same for programs: `worker` of `claimed`; `epoch`, `exact` and `differs` of `resumed`; `epoch` and `value`
    of `best`; `code` of `retried`; `status`, `stop_reason` and `code` of `ended`; what `changed`. Where a trainer has
    crashed, `log_tail` is the end of its log."""
