"""Files of ended jobs beside their checkpoints."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from service.spec.base import FrozenModel


class JobFileKind(StrEnum):
    """What the file holds."""

    predictions = "predictions"
    report = "report"


class JobFile(FrozenModel):
    """A file of a job that holds no weights."""

    kind: JobFileKind
    """What the file holds."""
    sha256: str
    """SHA-256 of the file, which is also its ETag."""
    size_bytes: int
    """Size of the file in bytes."""
    path: str
    """The file's key in the artifact store."""
    created_at: datetime
    """When it was stored (UTC)."""
