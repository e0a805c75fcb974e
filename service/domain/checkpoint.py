"""Published weights of a job, and the formats they are offered in."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from service.spec.base import FrozenModel


class CheckpointKind(StrEnum):
    """Which epoch's weights. `state` is the trainers' own: what a job goes on from."""

    best = "best"
    last = "last"
    state = "state"


class Checkpoint(FrozenModel):
    """Published weights."""

    kind: CheckpointKind
    """`best`: the epoch with the best monitored value. `last`: the final epoch."""
    epoch: int
    """The epoch whose weights these are."""
    metrics: dict[str, float | None]
    """What that epoch measured."""
    sha256: str
    """SHA-256 of the safetensors file, which is also its ETag."""
    size_bytes: int
    """Size of the safetensors file in bytes."""
    path: str
    """The file's key in the artifact store."""
    download_url: str
    """Where to download it, relative to this server."""
    created_at: datetime
    """When it was published (UTC)."""


class CheckpointFormat(StrEnum):
    """What weights are written as; the last three with their preprocessing."""

    safetensors = "safetensors"
    pt = "pt"
    onnx = "onnx"
    pt2 = "pt2"
    bundle = "bundle"


class CheckpointRef(FrozenModel):
    """Where a checkpoint's file is."""

    epoch: int
    """The epoch whose weights these are: the best one, or for a moment the best before it."""
    sha256: str
    """SHA-256 of the file."""
    size_bytes: int
    """Size of the file in bytes."""
    path: str
    """The file's key in the artifact store."""
    download_url: str
    """Where to download it, relative to this server."""
