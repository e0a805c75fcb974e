"""Records attempts: epochs in batches, checkpoint files before the rows that name them, the end of each job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

from service.domain.checkpoint import Checkpoint
from service.domain.status import Control, Status
from service.errors import LeaseLost, StorageError, Unavailable
from service.store.jobs import attempt as store
from service.store.jobs import leases
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import Claim
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import referenced
from service.worker.attempt import Attempt, FlushResult
from service.worker.checkpoint_files import write_concurrently

if TYPE_CHECKING:
    from service.domain.epoch import Epoch
    from service.domain.job import JobError
    from service.domain.job_file import JobFile
    from service.store.engine import Database
    from service.training.progress import ProgressCounter
    from service.worker.checkpoint_files import CheckpointFiles, Packer

log = logging.getLogger(__name__)
T = TypeVar("T")

FLUSH_SECONDS = 0.5
PUBLISHING_SHARE = 0.02  # of training time, at most, for publishing best checkpoints during training
PUBLISHING_SECONDS = 0.003  # estimated time to publish one, until it is measured
SAVING_SHARE = 0.015  # of training time, at most, for saving states
FULL_SECONDS = 5.0  # after the store rejected a file, until the next try
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Recorder:
    """Records the attempts at jobs that train as one array: one transaction for all of them at a time."""

    def __init__(
        self,
        database: Database,
        files: CheckpointFiles,
        device: str,
        claims: Sequence[Claim],
        save_seconds: float,
        progress: ProgressCounter | None = None,
    ) -> None:
        """`save_seconds`: between two saved states, or more where saving would take too much of the time.

        `progress`: what the watchdog sees.
        """
        self._database, self._files, self._device = database, files, device
        self.attempts = [Attempt(claim) for claim in claims]
        self._active = dict(enumerate(self.attempts))
        self._save_seconds, self._progress = save_seconds, progress
        self._unavailable = False  # the last flush failed
        self._flushed_at = time.monotonic()
        self._publish_from = self._flushed_at + len(claims) * PUBLISHING_SECONDS / PUBLISHING_SHARE
        self._save_from = self._flushed_at + save_seconds

    @property
    def active(self) -> set[int]:
        """The attempts that have neither ended nor lost their lease, by their numbers in the array."""
        return {*self._active}

    def reject(self, errors: Mapping[int, JobError]) -> None:
        """Before training starts: fail these jobs; the others are numbered anew, in the same order."""
        self.finish({number: Outcome(Status.failed, error=error) for number, error in errors.items()})
        self.attempts = [attempt for number, attempt in enumerate(self.attempts) if number not in errors]
        self._active = dict(enumerate(self.attempts))

    def start(self, packer: Packer) -> FlushResult:
        """Training starts: delete what earlier attempts wrote past the epochs from which these ones resume."""
        self._files.packer = packer
        resumed = {n: attempt for n, attempt in self._active.items() if attempt.resumed_after is not None}
        for attempt in resumed.values():
            published = attempt.published
            if attempt.best is None or published is None or published.epoch != attempt.best.epoch:
                attempt.published = None
            elif not self._retry(partial(self._files.exists, published)):
                attempt.published = None  # the resume point has the weights: publish them again
        return self._retry(lambda: self._commit(resumed, {}, {})) if resumed else FlushResult()

    def add(self, number: int, row: Epoch) -> None:
        """Take a finished epoch of an attempt."""
        self._active[number].add(row)

    def flush(self) -> FlushResult:
        """Commit what is pending, at most every half second; keep it for later while the database is unavailable."""
        if not self._active or time.monotonic() - self._flushed_at < FLUSH_SECONDS:
            return FlushResult()
        was_unavailable, self._unavailable = self._unavailable, True
        try:
            # While the database is unavailable, files would pile up that no row names.
            files = {} if was_unavailable else self._write_due()
            result = self._commit(self._active, files, {})
        except (Unavailable, StorageError) as error:
            log.warning("not recorded yet, training continues: %s", error)
            return FlushResult()
        finally:
            self._flushed_at = time.monotonic()
        self._unavailable = False
        return result

    def release(self, numbers: Collection[int]) -> FlushResult:
        """Save these attempts' states and requeue their jobs; retries until the database answers."""
        released = {number: self._active[number] for number in numbers if number in self._active}
        files: dict[int, list[Checkpoint]] = {number: [] for number in released}
        for write in (self._files.write_best, self._files.write_state):
            try:
                for number, written in write_concurrently(released, write):
                    files[number] += written
            except (StorageError, Unavailable) as error:
                log.warning("requeued without a checkpoint or saved state: %s", error)
        result = self._retry(lambda: self._commit(released, files, {}, release=True))
        self._leave(released)
        return result

    def release_at_limit(self) -> None:
        """At an epoch's end, release the attempts whose jobs have reached their epoch limit: they become paused."""
        if limited := [number for number, attempt in self._active.items() if attempt.at_epoch_limit]:
            self.release(limited)

    def finish(self, outcomes: Mapping[int, Outcome]) -> FlushResult:
        """Publish these attempts' files and end their jobs in one transaction.

        Retries until the database, and an object store, answer.
        """
        ended = {number: self._active[number] for number in outcomes}
        files: dict[int, list[Checkpoint | JobFile]] = {}
        ends: dict[int, Outcome] = {}

        def write() -> None:
            left = {number: attempt for number, attempt in ended.items() if number not in ends}
            for number, (written, problem) in write_concurrently(left, self._files.write_final):
                files[number] = written
                ends[number] = Outcome(Status.failed, error=problem) if problem else outcomes[number]

        self._retry(write)
        result = self._retry(lambda: self._commit(ended, files, ends))
        self._leave(ended)
        return result

    def fail(self, error: JobError) -> None:
        """Training the array raised `error`.

        A job that trained alone fails, with the best weights published. In an array nobody knows whose error it is:
        each job is requeued as crashed, and is then tried alone.
        """
        if len(self.attempts) > 1:
            self.crash(error)
            return
        for attempt in self._active.values():
            attempt.last = None  # the current weights are those of an unfinished epoch
        if self._active:
            self.finish(dict.fromkeys(self._active, Outcome(Status.failed, error=error)))

    def crash(self, error: JobError) -> None:
        """Requeue the jobs as crashed with `error`."""
        for attempt in self._active.values():
            self._crash(attempt.claim, error)
        self._active.clear()

    def _crash(self, claim: Claim, error: JobError) -> None:
        def write() -> None:
            with self._database.transaction() as connection:
                leases.record_crash(connection, claim.job_id, claim.attempt, error)

        try:
            self._retry(write)
        except LeaseLost:
            _log_lost(claim)

    def _write_due(self) -> dict[int, list[Checkpoint]]:
        """Write the best checkpoints and states that are due; what cannot be written is tried again later."""
        files: dict[int, list[Checkpoint]] = {number: [] for number in self._active}
        began = time.monotonic()
        try:
            started = time.monotonic()
            if started >= self._publish_from:
                for number, written in write_concurrently(self._active, self._files.write_best):
                    files[number] += written
                done = time.monotonic()
                self._publish_from = done + (done - started) / PUBLISHING_SHARE
            started = time.monotonic()
            if started >= self._save_from:
                for number, written in write_concurrently(self._active, self._files.write_state):
                    files[number] += written
                done = time.monotonic()
                self._save_from = done + max(self._save_seconds, (done - started) / SAVING_SHARE)
        except (StorageError, Unavailable) as error:
            log.warning("not published yet, training continues: %s", error)
            tried = time.monotonic() - began  # an object store is given up after seconds: train as long in between
            self._publish_from = self._save_from = time.monotonic() + max(FULL_SECONDS, tried)
        return files

    def _retry(self, write: Callable[[], T]) -> T:
        return retry(write, self._progress)

    def _leave(self, numbers: Collection[int]) -> None:
        for number in numbers:
            self._active.pop(number, None)

    def _commit(
        self,
        attempts: Mapping[int, Attempt],
        files: Mapping[int, Sequence[Checkpoint | JobFile]],
        outcomes: Mapping[int, Outcome],
        release: bool = False,
    ) -> FlushResult:
        records = {
            number: attempt.record(files.get(number, ()), outcomes.get(number), self._files.dropped)
            for number, attempt in attempts.items()
        }
        for attempt in attempts.values():
            attempt.committed = False
        with self._database.transaction() as connection:
            written = store.write(connection, self._device, list(records.values()))
            for record in records.values():
                if release and record.job_id in written.controls:
                    store.release(connection, record.job_id, record.attempt)
            lost = {number for number, record in records.items() if record.job_id not in written.controls}
            # An attempt counts as lost too when an earlier try was committed after all: its row names the file.
            unused = {file.path for number in lost for file in files.get(number, ())}
            unused -= referenced(connection, unused)
            garbage.discard(connection, unused)
            shared = referenced(connection, written.replaced)
        self._settle(attempts, files, lost)
        self._files.superseded.add(unused | (written.replaced - shared))
        asked = {n: written.controls.get(record.job_id) for n, record in records.items() if n not in outcomes}
        cancelled = frozenset(number for number, control in asked.items() if control is Control.cancel)
        paused = frozenset(number for number, control in asked.items() if control is Control.pause)
        return FlushResult(frozenset(lost), cancelled, paused)

    def _settle(
        self,
        attempts: Mapping[int, Attempt],
        files: Mapping[int, Sequence[Checkpoint | JobFile]],
        lost: Collection[int],
    ) -> None:
        """After a commit: forget what is written, and the attempts that lost their lease."""
        for number, attempt in attempts.items():
            attempt.written([file for file in files.get(number, ()) if isinstance(file, Checkpoint)])
        for number in lost:
            _log_lost(self._active.pop(number).claim)


def _log_lost(claim: Claim) -> None:
    log.warning("lease lost: attempt %s of %s stops, as another attempt owns the job", claim.attempt, claim.job_id)


def retry(write: Callable[[], T], progress: ProgressCounter | None = None) -> T:
    """Retry while the database or an object store is unavailable: their restart must not lose a week of training.

    `progress`: is counted up meanwhile, as waiting is no stall.
    """
    for delay in chain(RETRY_SECONDS, repeat(RETRY_SECONDS[-1])):
        try:
            return write()
        except (Unavailable, StorageError) as error:
            log.warning("not recorded yet, next try in %s s: %s", delay, error)
            time.sleep(delay)
            if progress is not None:
                progress.value += 1
    raise AssertionError("unreachable")
