"""The state machine of a job; stop reasons and error codes."""

from __future__ import annotations

from service.spec.base import OpenEnum


class Status(OpenEnum):
    """Status of a job."""

    queued = "queued"
    running = "running"
    paused = "paused"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"
    pruned = "pruned"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended for good."""
        return self in (Status.succeeded, Status.failed, Status.cancelled, Status.pruned)


# Transitions: queued <-> running -> succeeded | failed | cancelled; running -> paused <-> queued;
# queued, paused -> cancelled | pruned; pruned -> queued, when a client revives it.
LIVE = tuple(status for status in Status if not status.terminal)
ENDED = tuple(status for status in Status if status.terminal)  # an unknown status of a newer version is in neither


class StopReason(OpenEnum):
    """Why training ended."""

    early_stopped = "early_stopped"
    target_reached = "target_reached"
    max_epochs = "max_epochs"
    max_time = "max_time"
    diverged = "diverged"
    cancelled = "cancelled"
    pruned = "pruned"


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
    """A pending request, which takes effect at the end of the current epoch."""

    pause = "pause"
    cancel = "cancel"
