"""Writes the checkpoint files of attempts: best, last, and the state to resume from."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.job import JobError
from service.domain.status import ErrorCode
from service.errors import StorageError
from service.training.checkpoint import Metadata, to_bytes
from service.training.snapshot import to_bytes as snapshot_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from service.artifacts import Artifacts
    from service.data.preprocess.preprocessing import Preprocessing
    from service.domain.epoch import Epoch
    from service.spec.resolved import Resolved
    from service.training.loop import Training
    from service.training.weights import State
    from service.worker.attempt import Attempt
    from service.worker.superseded_checkpoints import SupersededCheckpoints

log = logging.getLogger(__name__)
T = TypeVar("T")

WRITERS = 8  # threads


class Packer(Protocol):
    """Gives the bytes of a checkpoint file."""

    def pack(self, number: int, attempt: Attempt, kind: CheckpointKind) -> bytes:
        """The file of this kind as of the attempt's last finished epoch; `number`: its place in the array."""
        ...


@dataclass
class WeightsPacker:
    """Packs the weights of an array as they are when they are asked for."""

    jobs: Sequence[Resolved]
    preprocessing: Sequence[Preprocessing]  # of each job
    made_by: dict[str, str]  # fingerprint of this machine
    training: Training | None = None  # until it is set, the resume points have the best weights

    def pack(self, number: int, attempt: Attempt, kind: CheckpointKind) -> bytes:
        """See Packer."""
        if kind is CheckpointKind.best:
            assert attempt.best is not None
            return self._checkpoint(number, self._best_state(number, attempt), attempt.best)
        assert self.training is not None
        assert attempt.last is not None
        if kind is CheckpointKind.state:
            return snapshot_bytes(self.training.snapshot(number), self.made_by)
        return self._checkpoint(number, self.training.last_state(number), attempt.last)

    def _best_state(self, number: int, attempt: Attempt) -> State:
        if self.training is not None:
            return self.training.best_state(number)
        assert attempt.resume_point is not None
        snapshot = attempt.resume_point.snapshot
        return snapshot.best_weights

    def _checkpoint(self, number: int, state: State, row: Epoch) -> bytes:
        return to_bytes(state, Metadata.of(self.jobs[number], self.preprocessing[number], row))


class CheckpointFiles:
    """Writes files of an array's attempts; a row that names a file is written after it, by the recorder."""

    def __init__(self, artifacts: Artifacts, superseded: SupersededCheckpoints, keep: Collection[str]) -> None:
        """`keep`: the kinds of checkpoints that an ended job leaves beside the best."""
        self._artifacts, self.superseded, self._keep = artifacts, superseded, keep
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
        """The state to resume from, after the first epoch of this attempt. Raises StorageError."""
        return [] if attempt.last is None else [self._write(number, attempt, CheckpointKind.state)]

    def write_best_and_state(self, number: int, attempt: Attempt) -> list[Checkpoint]:
        """Both. Raises StorageError."""
        return [*self.write_best(number, attempt), *self.write_state(number, attempt)]

    def write_final(self, number: int, attempt: Attempt) -> tuple[list[Checkpoint], JobError | None]:
        """The files that an ended job keeps, as far as they could be written, and why not all were."""
        files: list[Checkpoint] = []
        try:
            files += self.write_best(number, attempt)
            newest = files[0] if files else attempt.published
            if attempt.last is not None and CheckpointKind.last in self._keep:
                if newest is not None and newest.epoch == attempt.last.epoch:
                    files.append(newest.model_copy(update={"kind": CheckpointKind.last}))  # the same file
                else:
                    files.append(self._write(number, attempt, CheckpointKind.last))
            if CheckpointKind.state in self._keep:
                files += self.write_state(number, attempt)
        except StorageError as error:
            log.exception("checkpoints could not be written")
            return files, JobError(code=ErrorCode.storage_error, message=str(error))
        return files, None

    def exists(self, file: Checkpoint) -> bool:
        """Whether the file is there; a backup of a busy service may lack it."""
        return self._artifacts.path(file.path).exists()

    def _write(self, number: int, attempt: Attempt, kind: CheckpointKind) -> Checkpoint:
        row = attempt.best if kind is CheckpointKind.best else attempt.last
        assert row is not None
        data = self.packer.pack(number, attempt, kind)
        key = f"checkpoints/{attempt.claim.job_id}/{attempt.claim.attempt}-{kind.value}-{row.epoch}.safetensors"
        try:
            self._artifacts.put(key, data)
        except StorageError:
            with self._making_room:  # the first thread makes room for all
                self.superseded.make_room()
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


def for_each(attempts: Mapping[int, Attempt], write: Callable[[int, Attempt], T]) -> Iterator[tuple[int, T]]:
    """What `write` returns for each attempt, by its number; raises the first error after all have ended.

    Several attempts are written at once: the disk makes many files durable in the time of a few.
    """
    if len(attempts) < 2:
        for number, attempt in attempts.items():
            yield number, write(number, attempt)
        return
    with ThreadPoolExecutor(WRITERS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = {
            number: pool.submit(copy_context().run, write, number, attempt) for number, attempt in attempts.items()
        }
        for number, result in found.items():
            yield number, result.result()
