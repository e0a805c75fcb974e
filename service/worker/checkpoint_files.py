"""Writes the files of attempts: checkpoints (best, last, the state to resume from) and predictions."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from service.data.formats import prediction_table
from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.job_file import JobFile, JobFileKind
from service.domain.status import ErrorCode
from service.errors import ServiceError, StorageError, Unavailable
from service.store.jobs.events import NewEvent
from service.training.checkpoint import Metadata, to_bytes
from service.training.snapshot import to_bytes as snapshot_bytes
from service.worker.memory_errors import is_out_of_memory
from service.worker.predictions import best_predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from service.artifacts import Artifacts
    from service.data.preprocess.dataset import Prepared
    from service.domain.epoch import Epoch
    from service.spec.resolved import Resolved
    from service.store.jobs.claim import Claim
    from service.training.loop import Training
    from service.training.scoring import BestEvaluation
    from service.training.weights import State
    from service.worker.attempt import Attempt
    from service.worker.superseded_checkpoints import SupersededCheckpoints

log = logging.getLogger(__name__)
T = TypeVar("T")

WRITERS = 8  # threads


class Packer(Protocol):
    """Gives the contents of an attempt's files."""

    def pack(self, number: int, attempt: Attempt, kind: CheckpointKind) -> bytes:
        """The file of this kind as of the attempt's last finished epoch; `number`: its place in the array."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether training is within an epoch."""
        ...

    def predictions(self, number: int, best: Checkpoint, job_id: str) -> bytes | None:
        """The file of predictions of the best weights, published as `best`; None without validation and test rows.

        Raises TooLarge if there are too many to be kept.
        """
        ...


@dataclass
class WeightsPacker:
    """Packs the weights of an array as they are when they are asked for."""

    jobs: Sequence[Resolved]
    data: Sequence[Prepared]  # of each job
    made_by: dict[str, str]  # fingerprint of this machine
    training: Training | None = None  # until it is set, the resume points have the best weights
    evaluations: Mapping[int, BestEvaluation | None] = field(default_factory=dict)  # of jobs that have just ended

    @property
    def interrupted(self) -> bool:
        """See Packer."""
        return self.training is not None and self.training.interrupted

    def pack(self, number: int, attempt: Attempt, kind: CheckpointKind) -> bytes:
        """See Packer."""
        if kind is CheckpointKind.best:
            assert attempt.best is not None
            return self._checkpoint(number, self._best_state(number, attempt), attempt.best)
        assert self.training is not None
        if kind in (CheckpointKind.state, CheckpointKind.mid_epoch):
            return snapshot_bytes(self.training.snapshot(number), self.made_by)
        assert attempt.last is not None
        return self._checkpoint(number, self.training.last_state(number), attempt.last)

    def predictions(self, number: int, best: Checkpoint, job_id: str) -> bytes | None:
        """See Packer."""
        job, data = self.jobs[number], self.data[number]
        table = best_predictions(lambda: self._best_evaluation(number), job, data, best, job_id)
        return None if table is None else prediction_table.to_bytes(table)

    def _best_evaluation(self, number: int) -> BestEvaluation:
        found = self.evaluations.get(number)
        if found is None:  # of a job that ends although its training has not
            assert self.training is not None
            (one,) = self.training.evaluate_best([number])
            found = one[number]
        assert found is not None, "a best checkpoint is published"
        return found

    def _best_state(self, number: int, attempt: Attempt) -> State:
        if self.training is not None:
            return self.training.best_state(number)
        assert attempt.resume_point is not None
        snapshot = attempt.resume_point.snapshot
        return snapshot.best_weights

    def _checkpoint(self, number: int, state: State, row: Epoch) -> bytes:
        return to_bytes(state, Metadata.of(self.jobs[number], self.data[number].preprocessing, row))


class CheckpointFiles:
    """Writes files of an array's attempts; a row that names a file is written after it, by the recorder."""

    def __init__(self, artifacts: Artifacts, superseded: SupersededCheckpoints, keep: Collection[str]) -> None:
        """`keep`: the kinds of files that an ended job leaves beside the best checkpoint."""
        self._artifacts, self.superseded, self._keep = artifacts, superseded, keep
        # The members of an array share its buffers, and the predictions of one of them are in memory at a time.
        self._packing = Lock()
        self._making_room = Lock()
        self.packer: Packer  # set when training starts

    @property
    def dropped(self) -> frozenset[CheckpointKind]:
        """The kinds that an ended job does not keep."""
        return frozenset({CheckpointKind.state} - {*self._keep})

    def write_best(self, number: int, attempt: Attempt) -> list[Checkpoint]:
        """The best weights, unless they are published already. Raises StorageError."""
        return [] if attempt.best_is_published else [self._write(number, attempt, CheckpointKind.best)]

    def write_state(self, number: int, attempt: Attempt) -> list[Checkpoint]:
        """The state to resume from, within an epoch or after the first one of this attempt. Raises StorageError."""
        if self.packer.interrupted:
            return [self._write(number, attempt, CheckpointKind.mid_epoch)]
        return self._write_last_state(number, attempt)

    def _write_last_state(self, number: int, attempt: Attempt) -> list[Checkpoint]:
        return [] if attempt.last is None else [self._write(number, attempt, CheckpointKind.state)]

    def write_final(self, number: int, attempt: Attempt) -> tuple[list[Checkpoint | JobFile], JobError | None]:
        """The files that an ended job keeps, as far as they could be written, and why not all were.

        Predictions that cannot be kept do not fail the job: an event says why. Raises Unavailable while the artifact
        store cannot be reached.
        """
        files: list[Checkpoint | JobFile] = []
        try:
            written = self.write_best(number, attempt)
            best = written[0] if written else attempt.published
            files += written
            if attempt.last is not None and CheckpointKind.last in self._keep:
                if best is not None and best.epoch == attempt.last.epoch:
                    files.append(best.model_copy(update={"kind": CheckpointKind.last}))  # the same file
                else:
                    files.append(self._write(number, attempt, CheckpointKind.last))
            if CheckpointKind.state in self._keep:
                files += self._write_last_state(number, attempt)
        except StorageError as error:
            log.exception("checkpoints could not be written")
            return files, JobError(code=ErrorCode.storage_error, message=str(error))
        if best is not None and attempt.last is not None and JobFileKind.predictions in self._keep:
            try:
                files += self._write_predictions(number, attempt.claim, best)
            except Unavailable:
                raise
            except Exception as error:
                if not (isinstance(error, ServiceError) or is_out_of_memory(error)):
                    raise
                log.warning("predictions of %s are not kept: %r", attempt.claim.job_id, error)
                reason = "out of memory" if is_out_of_memory(error) else str(error)
                message = f"predictions not kept: {reason}"
                attempt.events.append(NewEvent(attempt.claim.job_id, EventKind.predictions_not_kept, message))
        return files, None

    def _write_predictions(self, number: int, claim: Claim, best: Checkpoint) -> list[JobFile]:
        """The file of predictions, if there are rows to predict. Raises StorageError, TooLarge."""
        with self._packing:
            data = self.packer.predictions(number, best, claim.job_id)
        if data is None:
            return []
        key = f"jobs/{claim.job_id}/{claim.attempt}-predictions-{best.epoch}.safetensors"
        self._put(key, data)
        kind, sha256 = JobFileKind.predictions, hashlib.sha256(data).hexdigest()
        return [JobFile(kind=kind, sha256=sha256, size_bytes=len(data), path=key, created_at=datetime.now(UTC))]

    def exists(self, file: Checkpoint) -> bool:
        """Whether the file is there; a backup of a busy service may lack it."""
        return self._artifacts.size(file.path) is not None

    def _write(self, number: int, attempt: Attempt, kind: CheckpointKind) -> Checkpoint:
        row = attempt.best if kind is CheckpointKind.best else attempt.last
        epoch = attempt.epoch if kind is CheckpointKind.mid_epoch or row is None else row.epoch
        name = f"{epoch}"
        if kind is CheckpointKind.mid_epoch:
            attempt.saved += 1
            name = f"{epoch}.{attempt.saved}"
        with self._packing:
            data = self.packer.pack(number, attempt, kind)
        key = f"checkpoints/{attempt.claim.job_id}/{attempt.claim.attempt}-{kind.value}-{name}.safetensors"
        self._put(key, data)
        return Checkpoint(
            kind=kind,
            epoch=epoch,
            metrics={} if row is None else row.measured(),
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            path=key,
            download_url="",
            created_at=datetime.now(UTC),
        )

    def _put(self, key: str, data: bytes) -> None:
        """Store a file; on a full disk, superseded checkpoints make room for it. Raises StorageError."""
        try:
            self._artifacts.put(key, data)
        except StorageError:
            with self._making_room:  # the first thread makes room for all
                self.superseded.make_room()
                self._artifacts.put(key, data)


def write_concurrently(attempts: Mapping[int, Attempt], write: Callable[[int, Attempt], T]) -> Iterator[tuple[int, T]]:
    """What `write` returns for each attempt, by its number, where it succeeds; then raises the first error.

    Several attempts are written at once: the disk makes many files durable in the time of a few.
    """
    if len(attempts) < 2:
        for number, attempt in attempts.items():
            yield number, write(number, attempt)
        return
    with ThreadPoolExecutor(WRITERS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        submitted = {
            number: pool.submit(copy_context().run, write, number, attempt) for number, attempt in attempts.items()
        }
    errors = [error for future in submitted.values() if (error := future.exception()) is not None]
    for number, future in submitted.items():
        if future.exception() is None:
            yield number, future.result()
    if errors:
        raise errors[0]
