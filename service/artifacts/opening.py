"""Opens the artifact store that the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.artifacts.folder import FolderArtifacts

if TYPE_CHECKING:
    from pathlib import Path

    from service.artifacts.interface import Artifacts
    from service.settings import Settings


@dataclass(frozen=True)
class ArtifactsConfig:
    """What a process needs to know to open the artifact store."""

    folder: Path

    @classmethod
    def of(cls, settings: Settings) -> ArtifactsConfig:
        """The configuration in the settings."""
        return cls(settings.artifacts)


def open_artifacts(config: ArtifactsConfig) -> Artifacts:
    """Open the store; each process opens its own. Raises StorageError."""
    return FolderArtifacts(config.folder)
