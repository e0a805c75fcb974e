"""Bytes by key in a folder: data sets and checkpoints. What `put` or `adopt` has returned from survives a power cut."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from service.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

ABANDONED_SECONDS = 24 * 3_600.0


class Artifacts:
    """A folder of immutable files. Keys are made by this service alone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / "tmp"
        self._scratch.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the file of this key is, whether or not it exists."""
        parts = PurePosixPath(key).parts
        if not parts or ".." in parts or PurePosixPath(key).is_absolute():
            raise ValueError(f"not an artifact key: {key!r}")
        return self._root.joinpath(*parts)

    def put(self, key: str, data: bytes) -> None:
        """Write, fsync, rename, fsync the folder; raises StorageError, and then the key is as it was."""
        with _storage_errors():
            handle, name = tempfile.mkstemp(dir=self._scratch)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                self.adopt(Path(name), key)
            finally:
                Path(name).unlink(missing_ok=True)

    def adopt(self, source: Path, key: str) -> None:
        """Move a file from `scratch()` to `key`, as durably as `put`; raises StorageError."""
        target = self.path(key)
        with _storage_errors():
            new = [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            _fsync(source)
            source.replace(target)
            for folder in (target.parent, *(folder.parent for folder in new)):
                _fsync(folder)

    def delete(self, key: str) -> None:
        """Remove the file of this key, if there is one, and its folder when it was the last there."""
        path = self.path(key)
        path.unlink(missing_ok=True)
        if path.parent.exists() and not any(path.parent.iterdir()):
            path.parent.rmdir()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for unfinished files, on the same disk as the finished ones; it is removed at the end."""
        with _storage_errors(), tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            yield Path(folder)

    def tidy(self) -> None:
        """Remove unfinished files that a killed process has left, once they are a day old."""
        for left in self._scratch.iterdir():
            with suppress(FileNotFoundError):  # somebody has just finished it
                if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()

    def check(self) -> None:
        """Raise StorageError when nothing can be written."""
        with _storage_errors(), tempfile.TemporaryFile(dir=self._scratch) as file:
            file.write(b"x")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the artifact store could not write: {error.strerror or error}") from error
