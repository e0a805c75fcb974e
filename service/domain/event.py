"""Events of a job's log: what happened and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from service.spec.base import FrozenModel, OpenEnum


class EventKind(OpenEnum):
    """Kind of event."""

    queued = "queued"
    claimed = "claimed"
    resumed = "resumed"
    best = "best"
    pause_requested = "pause_requested"
    pause_withdrawn = "pause_withdrawn"
    paused = "paused"
    cancel_requested = "cancel_requested"
    promoted = "promoted"
    released = "released"
    retried = "retried"
    changed = "changed"
    predictions_not_kept = "predictions_not_kept"
    ended = "ended"
    revived = "revived"


class Event(FrozenModel):
    """One entry of a job's append-only event log."""

    object: Literal["event"] = "event"
    """What this JSON object is."""
    number: int
    """Counted from 1 for each job, without gaps."""
    at: datetime
    """Time of the event (UTC)."""
    kind: EventKind
    """Kind of event. Clients must accept unknown kinds."""
    attempt: int
    """The job's attempt at that time; 0 before the first."""
    message: str
    """What happened and why, as text."""
    details: dict[str, Any]
    """Machine-readable details: `worker` of `claimed`; `epoch`, `exact` and `differs` of `resumed`; `epoch` and `value`
    of `best`; `epoch` of `paused` and `released`, if the job was running; `epoch_limit` of `promoted`; `code` of
    `retried`; `status`, `stop_reason` and `code` of `ended`, `epoch` of a pruned job; the new values of `changed`.
    After a crash, `log_tail` is the end of the trainer's log."""
