"""Writes what a trainer finds out: epochs in batches, checkpoints (bytes first, row after), the end of each job."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

from service.errors import StorageError, Unavailable
from service.lifecycle import Checkpoint, CheckpointKind, Control, Epoch, ErrorCode, JobError, Status
from service.store import queue, recording
from service.store.queue import Claim, Outcome
from service.store.recording import BestSoFar, Record

if TYPE_CHECKING:
    from service.artifacts import Artifacts
    from service.spec.early_stopping import Monitor
    from service.store.engine import Database

log = logging.getLogger(__name__)
T = TypeVar("T")

FLUSH_SECONDS = 0.5
PUBLISHING_SHARE = 0.02  # of training time, at most, goes into publishing best checkpoints on the way
PUBLISHING_SECONDS = 0.003  # that one may take, before any has been timed
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


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


@dataclass(frozen=True)
class Heard:
    """What a flush found out, by the members' numbers."""

    lost: frozenset[int] = frozenset()  # another attempt owns the job: nothing of it was written
    cancelled: frozenset[int] = frozenset()  # asked to stop at this epoch's end


@dataclass
class _Member:
    """One job's record, as far as it is not yet in the database."""

    claim: Claim
    monitor: Monitor
    rows: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0
    best: Weights | None = None
    published: Checkpoint | None = None
    clean: bool = False  # our last commit succeeded: no row of another attempt or try stands behind it

    @property
    def best_is_published(self) -> bool:
        return self.best is None or (self.published is not None and self.published.epoch == self.best.row.epoch)

    def record(self, published: Sequence[Checkpoint]) -> Record:
        """What is due of this job."""
        return Record(
            self.claim.job_id,
            self.claim.attempt,
            tuple(self.rows),
            self.best_so_far(),
            self.eta(),
            replace=not self.clean,
            published=published,
        )

    def best_so_far(self) -> BestSoFar | None:
        if self.best is None:
            return None
        value = self.best.row.value(self.monitor)
        assert value is not None, "a best epoch has a finite value"
        return BestSoFar(self.best.row.epoch, value, self.best.row.measured())

    def eta(self) -> float | None:
        if not self.rows:
            return None
        done = self.rows[-1].epoch
        return (self.claim.spec.max_epochs - done) * self.seconds / done


class Recorder:
    """The record of jobs that train together: what is due of all of them goes into one transaction."""

    def __init__(
        self, database: Database, artifacts: Artifacts, device: str, members: Sequence[tuple[Claim, Monitor]]
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._device = device
        self._members = {number: _Member(*member) for number, member in enumerate(members)}
        self._flushed_at = time.monotonic()
        self._publish_from = self._flushed_at + len(members) * PUBLISHING_SECONDS / PUBLISHING_SHARE

    def add(self, member: int, row: Epoch, best: Weights | None) -> None:
        """Take a finished epoch and the best one so far, whose weights can be had until the next epoch."""
        record = self._members[member]
        record.rows.append(row)
        record.seconds += row.seconds
        record.best = best

    def flush(self) -> Heard:
        """At most every half second, commit what there is; while the database is away, keep it for later."""
        now = time.monotonic()
        if not self._members or now - self._flushed_at < FLUSH_SECONDS:
            return Heard()
        try:
            published: dict[int, list[Checkpoint]] = {}
            if now >= self._publish_from:
                published = {n: self._write_best(member) for n, member in self._members.items()}
                spent = time.monotonic() - now
                self._publish_from = now + spent + spent / PUBLISHING_SHARE
            return self._commit(self._members, published, {})
        except (Unavailable, StorageError) as error:
            log.warning("not recorded yet, training goes on: %s", error)
            return Heard()
        finally:
            self._flushed_at = time.monotonic()

    def finish(self, endings: Mapping[int, Ending]) -> Heard:
        """Publish these members' weights and end their jobs, all at once; waits for a database that is away."""
        published: dict[int, list[Checkpoint]] = {}
        outcomes: dict[int, Outcome] = {}
        for number, ending in endings.items():
            published[number], problem = self._write_ending(self._members[number], ending)
            failed = problem and Outcome(Status.failed, error=problem)
            outcomes[number] = failed or ending.outcome
        ended = {number: self._members[number] for number in endings}
        heard = insist(lambda: self._commit(ended, published, outcomes))
        for number in endings:
            self._members.pop(number, None)
        return heard

    def _write_best(self, member: _Member) -> list[Checkpoint]:
        if member.best is None or member.best_is_published:
            return []
        return [self._write(member.claim, CheckpointKind.best, member.best)]

    def _write_ending(self, member: _Member, ending: Ending) -> tuple[list[Checkpoint], JobError | None]:
        """What could be written of best and last, and why not all."""
        member.best = ending.best
        published: list[Checkpoint] = []
        try:
            published += self._write_best(member)
            newest = published[0] if published else member.published
            if ending.last is not None and newest is not None and newest.epoch == ending.last.row.epoch:
                published.append(newest.model_copy(update={"kind": CheckpointKind.last}))  # the same weights and file
            elif ending.last is not None:
                published.append(self._write(member.claim, CheckpointKind.last, ending.last))
        except StorageError as error:
            log.exception("checkpoints could not be written")
            return published, JobError(code=ErrorCode.storage_error, message=str(error))
        return published, None

    def _write(self, claim: Claim, kind: CheckpointKind, weights: Weights) -> Checkpoint:
        data, row = weights.pack(), weights.row
        key = f"checkpoints/{claim.job_id}/{claim.attempt}-{kind.value}-{row.epoch}.safetensors"
        self._artifacts.put(key, data)
        return Checkpoint(
            kind=kind,
            epoch=row.epoch,
            metrics=row.measured(),
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            path=key,
            download_url="",
            created_at=datetime.now(UTC),
        )

    def _commit(
        self,
        members: Mapping[int, _Member],
        published: Mapping[int, Sequence[Checkpoint]],
        outcomes: Mapping[int, Outcome],
    ) -> Heard:
        records = {number: member.record(published.get(number, ())) for number, member in members.items()}
        records = {n: replace(record, outcome=outcomes.get(n)) for n, record in records.items()}
        for member in members.values():
            member.clean = False
        with self._database.transaction() as connection:
            written = recording.write(connection, self._device, list(records.values()))
            lost = {number for number, record in records.items() if record.job_id not in written.controls}
            # A member counts as lost too when an earlier try had committed after all: its row names the file.
            unnamed = {file.path for number in lost for file in published.get(number, ())} | written.replaced
            unnamed -= queue.named(connection, unnamed)
        self._settle(members, published, lost)
        for path in unnamed:
            self._artifacts.delete(path)
        cancelled = {n for n, record in records.items() if written.controls.get(record.job_id) is Control.cancel}
        return Heard(frozenset(lost), frozenset(cancelled - set(outcomes)))

    def _settle(
        self, members: Mapping[int, _Member], published: Mapping[int, Sequence[Checkpoint]], lost: set[int]
    ) -> None:
        """What is committed is no longer to be done."""
        for number, member in members.items():
            member.rows.clear()
            member.clean = True
            member.published = next(
                (file for file in published.get(number, ()) if file.kind is CheckpointKind.best), member.published
            )
        for number in lost:
            claim = self._members.pop(number).claim
            log.warning("lease lost: attempt %s of %s is not ours any more", claim.attempt, claim.job_id)


def insist(write: Callable[[], T]) -> T:
    """Write, again and again while the database is away: a week of training must not be lost to a restart of it."""
    for delay in chain(RETRY_SECONDS, repeat(RETRY_SECONDS[-1])):
        try:
            return write()
        except (Unavailable, StorageError) as error:
            log.warning("not recorded yet, trying again in %s s: %s", delay, error)
            time.sleep(delay)
    raise AssertionError("unreachable")
