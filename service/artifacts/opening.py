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
    """The store or, if there is a URL, the cache of one."""
    url: str | None
    """Of an object store."""
    credentials: Path | None
    """A file with credentials of the object store."""
    cache_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> ArtifactsConfig:
        """The configuration in the settings."""
        url = settings.artifacts_url if settings.uses_object_store else None
        return cls(settings.artifacts, url, settings.artifacts_credentials_file, settings.cache_bytes)


def open_artifacts(config: ArtifactsConfig) -> Artifacts:
    """Open the store; each process opens its own, as object stores have threads. Raises Misconfigured, StorageError."""
    if config.url is None:
        return FolderArtifacts(config.folder)
    from service.artifacts.cache import FileCache
    from service.artifacts.object_stores import open_bucket
    from service.artifacts.objects import ObjectArtifacts

    bucket = open_bucket(config.url, config.credentials)
    return ObjectArtifacts(bucket, config.url, FileCache(config.folder, config.cache_bytes))
