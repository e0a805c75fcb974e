"""The states of a job, why it stopped, and why it failed."""

from __future__ import annotations

from service.spec.base import OpenEnum


class Status(OpenEnum):
    """Where a job stands."""

    queued = "queued"
    running = "running"
    paused = "paused"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether this state never changes again."""
        return self in (Status.succeeded, Status.failed, Status.cancelled)


# queued <-> running -> succeeded | failed | cancelled; running -> paused <-> queued; queued, paused -> cancelled.
LIVE = tuple(status for status in Status if not status.terminal)
ENDED = tuple(status for status in Status if status.terminal)  # a state that this version does not know is neither


class StopReason(OpenEnum):
    """Why training ended."""

    early_stopped = "early_stopped"
    target_reached = "target_reached"
    max_epochs = "max_epochs"
    max_time = "max_time"
    diverged = "diverged"
    cancelled = "cancelled"


class ErrorCode(OpenEnum):
    """Why a job failed."""

    non_finite_loss = "non_finite_loss"
    out_of_memory = "out_of_memory"
    worker_lost = "worker_lost"
    stalled = "stalled"
    dataset_corrupt = "dataset_corrupt"
    checkpoint_corrupt = "checkpoint_corrupt"
    invalid_spec = "invalid_spec"
    storage_error = "storage_error"
    internal = "internal"


class Control(OpenEnum):
    """A request that waits for the running epoch's end."""

    pause = "pause"
    cancel = "cancel"
