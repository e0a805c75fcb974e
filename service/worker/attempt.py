"""One attempt at a job: what of it is not in the database yet, and what came of writing it there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.job_file import JobFile
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from service.domain.epoch import Epoch
    from service.store.jobs.claim import Claim
    from service.store.jobs.events import NewEvent
    from service.training.loop import ResumePoint


@dataclass(frozen=True)
class FlushResult:
    """What a commit found out, by the attempts' numbers in their array."""

    lost: frozenset[int] = frozenset()  # another attempt owns the job: nothing of this one was written
    cancelled: frozenset[int] = frozenset()  # a client asked to cancel: at this epoch's end
    paused: frozenset[int] = frozenset()  # a client asked to pause: at this epoch's end


@dataclass
class Attempt:
    """One attempt at a job, from its claim to its end."""

    claim: Claim
    resume_point: ResumePoint | None = None  # until training has taken it over; None: starts at epoch 1
    resumed_after: int | None = None  # set: delete the history past this epoch, which earlier attempts wrote
    pending: list[Epoch] = field(default_factory=list)  # rows to be written
    events: list[NewEvent] = field(default_factory=list)  # entries of the job's log to be written
    epoch: int = 0  # the last finished epoch, of this attempt or the saved state that it resumes from
    last: Epoch | None = None  # the last epoch of this attempt
    best: Epoch | None = None
    published: Checkpoint | None = None  # the best checkpoint that the database names
    seconds: float = 0.0  # of training, including earlier attempts
    mid_epoch: bool = False  # the database names a state within an epoch
    saved: int = 0  # states within epochs that this attempt has written: names of their files
    committed: bool = False  # the last commit succeeded: no row of another attempt, or of an earlier try, is behind it

    def add(self, row: Epoch) -> None:
        """Take a finished epoch."""
        self.pending.append(row)
        self.seconds += row.seconds
        self.last, self.epoch = row, row.epoch
        if row.is_best:
            self.best = row

    @property
    def at_epoch_limit(self) -> bool:
        """Whether the job's limit allows no further epoch."""
        return self.claim.epoch_limit is not None and self.epoch >= self.claim.epoch_limit

    @property
    def best_is_published(self) -> bool:
        """Whether the published checkpoint is of the best epoch, or there is no best epoch."""
        return self.best is None or (self.published is not None and self.published.epoch == self.best.epoch)

    def record(
        self,
        files: Sequence[Checkpoint | JobFile],
        outcome: Outcome | None = None,
        dropped: frozenset[CheckpointKind] = frozenset(),
    ) -> AttemptRecord:
        """What is to be written.

        `files`: new ones. `outcome` ends the job, which then keeps no checkpoints of the kinds `dropped`.
        """
        saved = any(file.kind is CheckpointKind.state for file in files)
        stale = {CheckpointKind.mid_epoch} if self.mid_epoch and (saved or outcome) else set()
        return AttemptRecord(
            self.claim.job_id,
            self.claim.attempt,
            tuple(self.pending),
            self._best_so_far(),
            self._eta(),
            replace=not self.committed,
            back_to=self.resumed_after,
            published=[file for file in files if isinstance(file, Checkpoint)],
            files=[file for file in files if isinstance(file, JobFile)],
            dropped=frozenset({*(dropped if outcome else ()), *stale}),
            events=tuple(self.events),
            outcome=outcome,
        )

    def written(self, files: Collection[Checkpoint] = ()) -> None:
        """A commit succeeded, with these checkpoints: nothing is left to be written."""
        kinds = {file.kind for file in files}
        self.published = next((file for file in files if file.kind is CheckpointKind.best), self.published)
        if kinds & {CheckpointKind.state, CheckpointKind.mid_epoch}:
            self.mid_epoch = CheckpointKind.mid_epoch in kinds
        self.pending.clear()
        self.events.clear()
        self.resumed_after, self.committed = None, True

    def _best_so_far(self) -> BestSoFar | None:
        if self.best is None:
            return None
        value = self.best.value(self.claim.spec.monitor)
        assert value is not None, "a best epoch has a finite value"
        return BestSoFar(self.best.epoch, value, self.best.measured())

    def _eta(self) -> float | None:
        """Seconds to the last epoch at the average speed so far."""
        if not self.pending:
            return None
        done = self.pending[-1].epoch
        return (self.claim.spec.max_epochs - done) * self.seconds / done
