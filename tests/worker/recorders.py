"""Recorders of jobs without training, and what they have written."""

from __future__ import annotations

from service.artifacts import Artifacts
from service.domain.checkpoint import CheckpointKind
from service.domain.epoch import Epoch
from service.domain.status import Status, StopReason
from service.store.engine import Database
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import Claim
from service.worker.attempt import Attempt, FlushResult
from service.worker.checkpoint_files import CheckpointFiles
from service.worker.recorder import Recorder
from service.worker.superseded_checkpoints import SupersededCheckpoints

DONE = Outcome(Status.succeeded, StopReason.max_epochs)


class TextPacker:
    """Checkpoint files that say of which epoch they are."""

    interrupted = False

    def pack(self, number: int, attempt: Attempt, kind: CheckpointKind) -> bytes:
        row = attempt.best if kind is CheckpointKind.best else attempt.last
        assert row is not None
        return f"weights of epoch {row.epoch}".encode()


def recorder_of(
    database: Database,
    artifacts: Artifacts,
    claimed: Claim,
    superseded_bytes: int = 2**30,
    save_seconds: float = 10.0,
    keep: str = "last",
) -> Recorder:
    files = CheckpointFiles(artifacts, SupersededCheckpoints(artifacts, superseded_bytes), {keep})
    return Recorder(database, files, "cpu", [claimed], save_seconds)


def add(recorder: Recorder, row: Epoch) -> FlushResult:
    recorder.add(0, row)
    return recorder.flush()


def finish(recorder: Recorder) -> FlushResult:
    return recorder.finish({0: DONE})


def files(artifacts: Artifacts) -> list[str]:
    root = artifacts.path("checkpoints")
    return sorted(path.name for path in root.rglob("*.safetensors"))
