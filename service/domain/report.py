"""What a report on a job or a version is made from: files and resolved jobs. Pickled for the process that builds it."""

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
class ReportedMember:
    """A member of what a report is about: for a job, its best epoch."""

    predictions: StoredFile
    """Predictions of the best epoch for validation and test rows."""
    checkpoint: StoredFile
    """The weights that predicted."""
    resolved: Resolved | None = None
    """The job; None if its data set was deleted, or another version of the service trained it."""
    weight: float = 1.0
    """Its weight in the average."""


@dataclass(frozen=True)
class ReportInputs:
    """The inputs of a report."""

    members: tuple[ReportedMember, ...]
    """One for a job; their data are the same."""
    table: StoredFile | None
    """The stored table; None for data inside the spec, or if it was deleted."""
    no_columns: str | None
    """Why the columns cannot be read; None if they can."""
    version: tuple[str, int] | None = None
    """Name and version of the model; None for a job."""
