"""The artifact store: data sets, checkpoints and predictions, immutable files by key; a folder or an object store.

Processes open it with `open_artifacts` and use the interface `Artifacts` alone.
"""

from service.artifacts.folder import FolderArtifacts
from service.artifacts.hashing import sha256_of
from service.artifacts.interface import TRASH, Artifacts, File
from service.artifacts.opening import ArtifactsConfig, open_artifacts

__all__ = ["TRASH", "Artifacts", "ArtifactsConfig", "File", "FolderArtifacts", "open_artifacts", "sha256_of"]
