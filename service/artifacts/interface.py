"""What an artifact store does, wherever it keeps its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

FOLDERS = ("checkpoints", "datasets", "jobs", "models")  # first parts of keys
UPLOADS = "uploads"  # prefix of the keys of parts of uploads
TRASH = "trash"  # prefix of the keys of files in the trash
DEPLOYMENT_ID = "deployment-id"
CHUNK_BYTES = 1024**2  # of a file that is read piece by piece


@dataclass(frozen=True)
class File:
    """A stored file: key and size in bytes."""

    key: str
    size_bytes: int


class Artifacts(ABC):
    """Immutable files by key, such as checkpoints/JOB/NAME. Keys are never chosen by clients.

    A file is stored durably before a row names it, with its SHA-256. All methods may be called from any thread, and
    block; only `path` of a store that `is_local` returns at once.
    """

    is_local: bool
    """Whether `path` returns at once, because the store itself is a folder of this machine."""

    @abstractmethod
    def path(self, key: str, sha256: str) -> Path:
        """A local path of this key's file, which is fetched if the store is not local and its cache lacks it.

        `sha256`: of the file, from the row that names it. The path need not exist: the store may lack the file, or
        have one with another SHA-256. Callers open the file soon, before it can be evicted from the cache. Raises
        Unavailable while the store cannot be reached, StorageError.
        """

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Size of this key's file in bytes; None if there is none. Raises Unavailable, StorageError."""

    @abstractmethod
    def sha256(self, key: str) -> str:
        """SHA-256 of the stored bytes, which are read now. Raises FileNotFoundError, OSError, Unavailable."""

    @abstractmethod
    def address(self, key: str) -> str:
        """Where an operator finds this key's file: a path or a URL. The key '' gives that of the store."""

    @abstractmethod
    def put(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Store `data` at a new key: completely and durably, or not at all.

        Storing the same bytes again succeeds. `replace`: the key may have another file already. Without it an object
        store refuses to replace one; a folder does replace it. Raises StorageError and, while the store cannot be
        reached, Unavailable.
        """

    @abstractmethod
    def adopt(self, source: Path, key: str, *, replace: bool = False) -> None:
        """Store a file from `scratch()`, as `put` does; `source` may be gone then."""

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Delete this key's file if it exists; returns whether it no longer exists.

        Logs errors instead of raising: the garbage collector tries again later.
        """

    @abstractmethod
    def move_to_trash(self, key: str) -> bool:
        """Move this key's file to the trash; returns whether it is no longer at its key. Logs errors."""

    @abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """A temporary local folder, for `adopt` among others; removed at the end."""

    @abstractmethod
    def files(self) -> Iterator[File]:
        """All stored files; other files in the store are ignored. Raises Unavailable, StorageError."""

    @abstractmethod
    def trash(self) -> Iterator[File]:
        """All files in the trash. Raises Unavailable, StorageError."""

    @abstractmethod
    def unfinished(self) -> list[str]:
        """Names of temporary files that the collector is to watch: being written, or left by killed processes."""

    @abstractmethod
    def remove_unfinished(self, name: str) -> bool:
        """Delete a file or folder listed by `unfinished`; returns whether it no longer exists."""

    @abstractmethod
    def deployment_id(self) -> str | None:
        """The deployment id in the store; None if there is none yet. Raises Unavailable, StorageError."""

    def set_deployment_id(self, deployment: str, *, replace: bool = False) -> None:
        """Write the deployment id to the store. Raises as `put` does."""
        self.put(DEPLOYMENT_ID, f"{deployment}\n".encode(), replace=replace)

    @abstractmethod
    def url(self, key: str, seconds: int) -> str | None:
        """A URL from which anyone may download this key's file for so many seconds; None if the store has none."""

    @abstractmethod
    def upload_url(self, key: str, seconds: int) -> str | None:
        """A URL to which anyone may PUT this key's file for so many seconds; None if the store has none."""

    @abstractmethod
    def parts(self, upload: str | None = None) -> Iterator[File]:
        """The parts of this upload, or of all: files whose keys are uploads/UPLOAD/NUMBER, which `files` leaves out.

        Raises Unavailable, StorageError.
        """

    @abstractmethod
    def chunks(self, key: str) -> Iterator[bytes]:
        """The stored bytes, piece by piece, without the cache.

        All are of one file: FileNotFoundError if it is deleted or replaced meanwhile. Raises OSError, Unavailable.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise StorageError or Unavailable if the store cannot be used now. Cheap enough for a probe."""


def checked(key: str) -> PurePosixPath:
    """The key as a relative path; raises ValueError for one that escapes the store."""
    path = PurePosixPath(key)
    if not path.parts or ".." in path.parts or path.is_absolute():
        raise ValueError(f"not an artifact key: {key!r}")
    return path
