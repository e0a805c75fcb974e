"""What drift is measured with: members of a version, and new rows. Passed to the processes that do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.domain.model_ref import ModelRef
from service.domain.report import StoredFile


@dataclass(frozen=True)
class ProfiledMember:
    """A member of a version whose training rows are profiled."""

    checkpoint: Path
    """Its weights."""
    spec: dict[str, Any]
    """The job's spec, with every default."""
    weight: float
    """Its weight in the average."""
    table: Path | None
    """The stored table; None for data inside the spec."""
    predictions: Path | None
    """The predictions that its job has kept; None: not used."""


@dataclass(frozen=True)
class DriftInputs:
    """New rows, and the version with which they are compared."""

    model: ModelRef
    """The version."""
    profile: StoredFile
    """The profile of its training rows."""
    preprocessing: str
    """How its rows are read, as JSON."""
    source: Path
    """The file of the new rows: a list in JSON, unless its rows are staged beside it."""
    staged_rows: int | None
    """How many rows are staged; None: none."""
