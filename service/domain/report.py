"""What a report on a job is made from: files and the resolved job. Pickled for the process that builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.spec.resolved import Resolved


@dataclass(frozen=True)
class StoredFile:
    """A file of the artifact store and its SHA-256 when it was stored."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class ReportInputs:
    """The inputs of a report."""

    predictions: StoredFile
    """Predictions of the best epoch for validation and test rows."""
    checkpoint: StoredFile
    """The weights that predicted."""
    resolved: Resolved | None
    """The job; None if its data set was deleted, or a version of before trained it."""
    table: StoredFile | None
    """The stored table; None for data inside the spec, or if it was deleted."""
    no_columns: str | None
    """Why the columns cannot be read; None if they can."""
