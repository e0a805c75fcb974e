"""What reports and evaluations are made from: files, resolved jobs, rows. Pickled for the process that builds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.domain.model_ref import ModelRef
from service.spec.resolved import Resolved
from service.spec.table import Value


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


@dataclass(frozen=True)
class EvaluationInputs:
    """The inputs of an evaluation on new labelled rows."""

    model: ModelRef
    """The version's members."""
    version: tuple[str, int]
    """Name and version of the model."""
    no_comparison: str | None
    """Why the rows that were held out in training are not compared with; None if they are."""
    rows: tuple[Mapping[str, Value | None], ...] = ()
    """The rows, if they were given as JSON."""
    staged: Path | None = None
    """The folder of the rows of a file, as `read_labelled_rows` staged them."""
    staged_rows: int = 0
    """Their number."""
