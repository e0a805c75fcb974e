"""Checkpoints: published weights of a job, their download formats, and the metadata in their files."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from service.errors import CheckpointCorrupt
from service.spec.base import FrozenModel

if TYPE_CHECKING:
    from typing import BinaryIO

METADATA_KEY = "bestepoch"
"""The name of the metadata in a file: a single one, because the order of names is arbitrary, and equal weights must
give equal bytes."""
MAX_HEADER_BYTES = 100 * 10**6  # the format's own limit


class CheckpointKind(StrEnum):
    """Kind of checkpoint. `state` and `mid_epoch` are internal: states that a job resumes from, at an epoch's end or
    within the next epoch."""

    best = "best"
    last = "last"
    state = "state"
    mid_epoch = "mid_epoch"


class Checkpoint(FrozenModel):
    """A checkpoint: published weights of one epoch."""

    kind: CheckpointKind
    """`best`: the epoch with the best monitored value. `last`: the final epoch."""
    epoch: int
    """The epoch of the weights."""
    metrics: dict[str, float | None]
    """Losses and metrics of that epoch."""
    sha256: str
    """SHA-256 of the safetensors file, which is also its ETag."""
    size_bytes: int
    """Size of the safetensors file in bytes."""
    path: str
    """The file's key in the artifact store."""
    download_url: str
    """Download URL, relative to this server."""
    created_at: datetime
    """When it was published (UTC)."""


class CheckpointFormat(StrEnum):
    """Download formats; the last three include preprocessing."""

    safetensors = "safetensors"
    pt = "pt"
    onnx = "onnx"
    pt2 = "pt2"
    bundle = "bundle"

    def file_ending(self, *, calibrated: bool) -> str:
        """How names of files in this format end; raw and calibrated exports have different names."""
        exports = (CheckpointFormat.onnx, CheckpointFormat.pt2, CheckpointFormat.bundle)
        raw = "-raw" if self in exports and not calibrated else ""
        return f"{raw}.{'zip' if self is CheckpointFormat.bundle else self.value}"

    @classmethod
    def of_file(cls, name: str) -> CheckpointFormat | None:
        """The format that a file's name ends with, if any."""
        endings = {each.file_ending(calibrated=True): each for each in cls}
        return next((each for ending, each in endings.items() if name.endswith(ending)), None)


class CheckpointRef(FrozenModel):
    """Reference to a checkpoint's file."""

    epoch: int
    """The epoch of the weights: the best one, or the previous best until the new one is published."""
    sha256: str
    """SHA-256 of the file."""
    size_bytes: int
    """Size of the file in bytes."""
    path: str
    """The file's key in the artifact store."""
    download_url: str
    """Download URL, relative to this server."""


def read_metadata(file: BinaryIO) -> dict[str, str]:
    """The metadata of a safetensors file, which starts with the length of its JSON header (8 bytes little-endian).

    Raises CheckpointCorrupt for a damaged file.
    """
    length = int.from_bytes(file.read(8), "little")
    try:
        found: dict[str, str] = json.loads(file.read(min(length, MAX_HEADER_BYTES))).get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise CheckpointCorrupt("the file is damaged: its header cannot be read") from error
    return found
