"""Writes what a trainer finds out: epochs in batches, checkpoints (bytes first, row after), the end of the job."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING

from service.errors import StorageError, Unavailable
from service.lifecycle import Checkpoint, CheckpointKind, ErrorCode, JobError, Status
from service.store import queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.artifacts import Artifacts
    from service.lifecycle import Control, Epoch
    from service.spec.early_stopping import Monitor
    from service.store.engine import Database
    from service.store.queue import Claim, Outcome

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
PUBLISHING_SHARE = 0.035  # of training time, at most, goes into publishing the best checkpoint on the way
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Weights:
    """An epoch and how to get its checkpoint's bytes, which is done only when they are wanted."""

    row: Epoch
    pack: Callable[[], bytes]


class Recorder:
    """The record of one attempt. Raises LeaseLost from every write once another attempt owns the job."""

    def __init__(self, database: Database, artifacts: Artifacts, claim: Claim, monitor: Monitor, device: str) -> None:
        self._database = database
        self._artifacts = artifacts
        self._claim = claim
        self._monitor = monitor
        self._device = device
        self._rows: list[Epoch] = []
        self._epoch_seconds = 0.0
        self._best: Epoch | None = None
        self._published: Checkpoint | None = None
        self._flushed_at = time.monotonic()
        self._publish_from = 0.0

    def add(self, row: Epoch, best: Weights | None) -> Control | None:
        """Take a finished epoch and the best one so far; at most every half second, commit and hear what was asked."""
        self._rows.append(row)
        self._epoch_seconds += row.seconds
        self._best = best.row if best else None
        if time.monotonic() - self._flushed_at < FLUSH_SECONDS:
            return None
        try:
            return self._flush(best)
        except (Unavailable, StorageError) as error:
            log.warning("not recorded yet, training goes on: %s", error)
            return None
        finally:
            self._flushed_at = time.monotonic()

    def finish(self, outcome: Outcome, best: Weights | None, last: Weights | None) -> None:
        """Publish what is not yet published and end the job, in one transaction; waits for a database that is away."""
        published: list[Checkpoint] = []
        try:
            published = self._write_last(best, last)
        except StorageError as error:
            log.exception("checkpoints could not be written")
            problem = JobError(code=ErrorCode.storage_error, message=str(error))
            outcome = queue.Outcome(Status.failed, error=problem)
        for delay in chain(RETRY_SECONDS, repeat(RETRY_SECONDS[-1])):
            try:
                self._commit(published, outcome)
                return
            except (Unavailable, StorageError) as error:
                log.warning("the end is not recorded yet, trying again in %s s: %s", delay, error)
                time.sleep(delay)

    def _flush(self, best: Weights | None) -> Control | None:
        started = time.monotonic()
        published = []
        if best is not None and started >= self._publish_from and not self._is_published(best):
            published.append(self._write(CheckpointKind.best, best))
        control = self._commit(published)
        if published:
            now = time.monotonic()
            self._publish_from = now + (now - started) / PUBLISHING_SHARE
        return control

    def _write_last(self, best: Weights | None, last: Weights | None) -> list[Checkpoint]:
        published = []
        if best is not None and not self._is_published(best):
            published.append(self._write(CheckpointKind.best, best))
        if last is not None:
            newest = published[0] if published else self._published
            if newest is not None and newest.epoch == last.row.epoch:  # the same weights: the same file
                published.append(newest.model_copy(update={"kind": CheckpointKind.last}))
            else:
                published.append(self._write(CheckpointKind.last, last))
        return published

    def _is_published(self, best: Weights) -> bool:
        return self._published is not None and self._published.epoch == best.row.epoch

    def _write(self, kind: CheckpointKind, weights: Weights) -> Checkpoint:
        data = weights.pack()
        job_id, attempt, row = self._claim.job_id, self._claim.attempt, weights.row
        key = f"checkpoints/{job_id}/{attempt}-{kind.value}-{row.epoch}.safetensors"
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

    def _commit(self, published: list[Checkpoint], outcome: Outcome | None = None) -> Control | None:
        job_id, attempt = self._claim.job_id, self._claim.attempt
        with self._database.transaction() as connection:
            control = queue.record(
                connection,
                job_id,
                attempt,
                self._rows,
                device=self._device,
                best=self._best_so_far(),
                eta_seconds=self._eta(),
            )
            replaced = [queue.publish(connection, job_id, checkpoint) for checkpoint in published]
            if outcome is not None:
                queue.finish(connection, job_id, attempt, outcome)
        self._rows.clear()
        for checkpoint in published:
            if checkpoint.kind is CheckpointKind.best:
                self._published = checkpoint
        kept = {checkpoint.path for checkpoint in published}
        for path in replaced:
            if path is not None and path not in kept:
                self._artifacts.delete(path)
        return control

    def _best_so_far(self) -> queue.BestSoFar | None:
        if self._best is None:
            return None
        value = self._best.value(self._monitor)
        assert value is not None, "a best epoch has a finite value"
        return queue.BestSoFar(self._best.epoch, value, self._best.measured())

    def _eta(self) -> float | None:
        if not self._rows:
            return None
        done = self._rows[-1].epoch
        return (self._claim.spec.max_epochs - done) * self._epoch_seconds / done
