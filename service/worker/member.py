"""A job among those that a trainer trains together: what is known of it and not yet in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.domain.checkpoint import Checkpoint
from service.domain.epoch import Epoch
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome
from service.store.jobs.claim import Claim
from service.store.jobs.events import NewEvent

if TYPE_CHECKING:
    from service.spec.early_stopping import Monitor


@dataclass(frozen=True)
class Weights:
    """An epoch and how to get its checkpoint's bytes, which is done only when they are wanted."""

    row: Epoch
    pack: Callable[[], bytes]


@dataclass(frozen=True)
class Ending:
    """How a job ends, and the weights that it leaves."""

    outcome: Outcome
    best: Weights | None
    last: Weights | None
    state: Weights | None = None  # what another job can go on from


@dataclass(frozen=True)
class Heard:
    """What a flush found out, by the members' numbers."""

    lost: frozenset[int] = frozenset()  # another attempt owns the job: nothing of it was written
    cancelled: frozenset[int] = frozenset()  # asked to stop at this epoch's end
    paused: frozenset[int] = frozenset()  # asked to be given back at this epoch's end


@dataclass(frozen=True)
class Before:
    """What earlier attempts have come to, up to the epoch after which this one goes on."""

    epoch: int
    entry: NewEvent  # for the job's log
    seconds: float = 0.0  # of training
    best: Weights | None = None
    published: Checkpoint | None = None  # the best checkpoint that there is


@dataclass
class Member:
    """One job's record, as far as it is not yet in the database."""

    claim: Claim
    monitor: Monitor
    rows: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0  # of training, with that of earlier attempts
    best: Weights | None = None
    state: Weights | None = None
    published: Checkpoint | None = None
    events: list[NewEvent] = field(default_factory=list)
    back_to: int | None = None  # rows past this epoch are those of earlier attempts
    clean: bool = False  # our last commit succeeded: no row of another attempt or try stands behind it

    @property
    def best_is_published(self) -> bool:
        """Whether there is nothing better than what is published."""
        return self.best is None or (self.published is not None and self.published.epoch == self.best.row.epoch)

    def record(self, published: Sequence[Checkpoint]) -> AttemptRecord:
        """What is due of this job."""
        return AttemptRecord(
            self.claim.job_id,
            self.claim.attempt,
            tuple(self.rows),
            self.best_so_far(),
            self.eta(),
            replace=not self.clean,
            back_to=self.back_to,
            published=published,
            events=tuple(self.events),
        )

    def best_so_far(self) -> BestSoFar | None:
        """The best epoch in the database's words."""
        if self.best is None:
            return None
        value = self.best.row.value(self.monitor)
        assert value is not None, "a best epoch has a finite value"
        return BestSoFar(self.best.row.epoch, value, self.best.row.measured())

    def eta(self) -> float | None:
        """Seconds to the last epoch at the pace so far."""
        if not self.rows:
            return None
        done = self.rows[-1].epoch
        return (self.claim.spec.max_epochs - done) * self.seconds / done
