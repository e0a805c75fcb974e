"""Writes what a trainer finds out: epochs in batches, checkpoints and states (bytes first, row after), the end of each
job."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.epoch import Epoch
from service.domain.job import JobError
from service.domain.status import Control, ErrorCode, Status
from service.errors import StorageError, Unavailable
from service.store.jobs import attempt
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import Claim
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import referenced
from service.worker.member import Before, Ending, Heard, Member, Weights
from service.worker.superseded_checkpoints import Superseded

if TYPE_CHECKING:
    from service.artifacts import Artifacts
    from service.spec.early_stopping import Monitor
    from service.store.engine import Database

log = logging.getLogger(__name__)
T = TypeVar("T")

FLUSH_SECONDS = 0.5
PUBLISHING_SHARE = 0.02  # of training time, at most, goes into publishing best checkpoints on the way
PUBLISHING_SECONDS = 0.003  # that one may take, before any has been timed
SAVING_SHARE = 0.015  # the same of saving states
FULL_SECONDS = 5.0  # until a disk that took no file is tried again
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Recorder:
    """The record of jobs that train together: what is due of all of them goes into one transaction."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        device: str,
        members: Sequence[tuple[Claim, Monitor]],
        save_seconds: float,
        keep: Collection[str],
        superseded: Superseded | None = None,
    ) -> None:
        """`save_seconds`: from one saved state to the next, or more where that would cost too much.

        `keep`: the kinds of checkpoints that ended jobs leave beside the best. `superseded`: the trainer's.
        """
        self._database = database
        self._artifacts = artifacts
        self._device = device
        self._members = {number: Member(*member) for number, member in enumerate(members)}
        self._save_seconds, self._keep = save_seconds, keep
        self._superseded = superseded or Superseded(artifacts)
        self._away = False  # the last flush was in vain
        self._flushed_at = time.monotonic()
        self._publish_from = self._flushed_at + len(members) * PUBLISHING_SECONDS / PUBLISHING_SHARE
        self._save_from = self._flushed_at + save_seconds

    def go_back(self, before: Mapping[int, Before]) -> Heard:
        """These members go on after an epoch: forget what an earlier attempt wrote of later ones."""
        for number, known in before.items():
            member = self._members[number]
            member.back_to, member.seconds = known.epoch, known.seconds
            member.best = known.best
            member.events.append(known.entry)
            if known.published and known.best and known.published.epoch == known.best.row.epoch:
                # A backup of a busy service may lack the file; the saved state has the weights.
                there = self._artifacts.path(known.published.path).exists()
                member.published = known.published if there else None
        back = {number: self._members[number] for number in before}
        return insist(lambda: self._commit(back, {}, {})) if back else Heard()

    def add(self, member: int, row: Epoch, best: Weights | None, state: Weights | None = None) -> None:
        """Take a finished epoch, the best one so far and the state; both can be had until the next epoch."""
        record = self._members[member]
        record.rows.append(row)
        record.seconds += row.seconds
        record.best, record.state = best, state

    def flush(self) -> Heard:
        """At most every half second, commit what there is; while the database is away, keep it for later."""
        if not self._members or time.monotonic() - self._flushed_at < FLUSH_SECONDS:
            return Heard()
        away, self._away = self._away, True
        try:
            published = {} if away else self._write_due()  # else files that no row can name yet would pile up
            heard = self._commit(self._members, published, {})
        except (Unavailable, StorageError) as error:
            log.warning("not recorded yet, training goes on: %s", error)
            return Heard()
        finally:
            self._flushed_at = time.monotonic()
        self._away = False
        return heard

    def _write_due(self) -> dict[int, list[Checkpoint]]:
        """The files whose time has come, best checkpoints and states; what cannot be written has to wait."""
        published: dict[int, list[Checkpoint]] = {number: [] for number in self._members}
        try:
            begun = time.monotonic()
            if begun >= self._publish_from:
                for number, member in self._members.items():
                    published[number] += self._write_best(member)
                done = time.monotonic()
                self._publish_from = done + (done - begun) / PUBLISHING_SHARE
            begun = time.monotonic()
            if begun >= self._save_from:
                for number, member in self._members.items():
                    published[number] += self._write_state(member)
                done = time.monotonic()
                self._save_from = done + max(self._save_seconds, (done - begun) / SAVING_SHARE)
        except StorageError as error:
            log.warning("not published yet, training goes on: %s", error)
            self._publish_from = self._save_from = time.monotonic() + FULL_SECONDS
        return published

    def release(self, numbers: Collection[int]) -> Heard:
        """Give these members back with their states saved, at an epoch's end; waits for a database that is away."""
        members = {number: self._members[number] for number in numbers if number in self._members}
        published: dict[int, list[Checkpoint]] = {}
        try:
            for number, member in members.items():
                published[number] = [*self._write_best(member), *self._write_state(member)]
        except StorageError as error:
            log.warning("given back without a saved state: %s", error)
        heard = insist(lambda: self._commit(members, published, {}, release=True))
        for number in members:
            self._members.pop(number, None)
        return heard

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

    def _write_best(self, member: Member) -> list[Checkpoint]:
        if member.best is None or member.best_is_published:
            return []
        return [self._write(member.claim, CheckpointKind.best, member.best)]

    def _write_ending(self, member: Member, ending: Ending) -> tuple[list[Checkpoint], JobError | None]:
        """What could be written of best and last, and why not all."""
        member.best = ending.best
        published: list[Checkpoint] = []
        try:
            published += self._write_best(member)
            newest, last = published[0] if published else member.published, ending.last
            if last is not None and CheckpointKind.last in self._keep:
                if newest is not None and newest.epoch == last.row.epoch:
                    published.append(newest.model_copy(update={"kind": CheckpointKind.last}))  # the same file
                else:
                    published.append(self._write(member.claim, CheckpointKind.last, last))
            member.state = ending.state
            if CheckpointKind.state in self._keep:
                published += self._write_state(member)
        except StorageError as error:
            log.exception("checkpoints could not be written")
            return published, JobError(code=ErrorCode.storage_error, message=str(error))
        return published, None

    def _write_state(self, member: Member) -> list[Checkpoint]:
        return [] if member.state is None else [self._write(member.claim, CheckpointKind.state, member.state)]

    def _write(self, claim: Claim, kind: CheckpointKind, weights: Weights) -> Checkpoint:
        data, row = weights.pack(), weights.row
        key = f"checkpoints/{claim.job_id}/{claim.attempt}-{kind.value}-{row.epoch}.safetensors"
        try:
            self._artifacts.put(key, data)
        except StorageError:
            if not self._superseded.make_room():
                raise
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
        members: Mapping[int, Member],
        published: Mapping[int, Sequence[Checkpoint]],
        outcomes: Mapping[int, Outcome],
        release: bool = False,
    ) -> Heard:
        records = {number: member.record(published.get(number, ())) for number, member in members.items()}
        dropped = frozenset({CheckpointKind.state} - {*self._keep})
        for number, outcome in outcomes.items():
            records[number] = replace(records[number], outcome=outcome, dropped=dropped)
        for member in members.values():
            member.clean = False
        with self._database.transaction() as connection:
            written = attempt.write(connection, self._device, list(records.values()))
            for record in records.values():
                if release and record.job_id in written.controls:
                    attempt.release(connection, record.job_id, record.attempt)
            lost = {number for number, record in records.items() if record.job_id not in written.controls}
            # A member counts as lost too when an earlier try had committed after all: its row names the file.
            in_vain = {file.path for number in lost for file in published.get(number, ())}
            in_vain -= referenced(connection, in_vain)
            garbage.discard(connection, in_vain)
            shared = referenced(connection, written.replaced)
        self._settle(members, published, lost)
        self._superseded.add(in_vain | (written.replaced - shared))
        asked = {n: written.controls.get(record.job_id) for n, record in records.items() if n not in outcomes}
        cancelled = frozenset(number for number, control in asked.items() if control is Control.cancel)
        paused = frozenset(number for number, control in asked.items() if control is Control.pause)
        return Heard(frozenset(lost), cancelled, paused)

    def _settle(
        self, members: Mapping[int, Member], published: Mapping[int, Sequence[Checkpoint]], lost: set[int]
    ) -> None:
        """What is committed is no longer to be done."""
        for number, member in members.items():
            member.rows.clear()
            member.events.clear()
            member.back_to, member.clean = None, True
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
