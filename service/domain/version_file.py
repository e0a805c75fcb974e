"""Files of versions of models, made from the version as a whole."""

from __future__ import annotations

from enum import StrEnum

from service.spec.base import FrozenModel


class VersionFileKind(StrEnum):
    """What the file holds."""

    report = "report"
    profile = "profile"


class VersionFile(FrozenModel):
    """A file of a version of a model."""

    kind: VersionFileKind
    """What the file holds."""
    sha256: str
    """SHA-256 of the file."""
    size_bytes: int
    """Size of the file in bytes."""
    path: str
    """The file's key in the artifact store."""
