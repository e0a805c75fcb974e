"""Checkpoints: published weights of a job, and their download formats."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from service.spec.base import FrozenModel


class CheckpointKind(StrEnum):
    """Kind of checkpoint. `state` is internal: the training state that a job resumes from."""

    best = "best"
    last = "last"
    state = "state"


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
