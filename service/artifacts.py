"""Bytes by key in a folder: data sets and checkpoints. What `put` or `adopt` has returned from survives a power cut."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import TYPE_CHECKING

from service.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

ABANDONED_SECONDS = 24 * 3_600.0
FOLDERS = ("checkpoints", "datasets")  # what keys begin with


@dataclass(frozen=True)
class File:
    """A finished file: its key, its size in bytes, and for how many seconds nobody has written to it."""

    key: str
    size_bytes: int
    age_seconds: float

    @property
    def old(self) -> bool:
        """Whether whoever wrote it has had more than enough time to name it in the database."""
        return self.age_seconds > ABANDONED_SECONDS


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
            source = self._unused()
            try:
                with source.open("xb") as file:  # not by mkstemp, which does not go by the umask
                    file.write(data)
                self.adopt(source, key)
            finally:
                source.unlink(missing_ok=True)

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
        with suppress(OSError):  # others are in it, or somebody else has just removed it
            path.parent.rmdir()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for unfinished files, on the same disk as the finished ones; it is removed at the end."""
        with _storage_errors():
            folder = self._unused()
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _unused(self) -> Path:
        """Where nothing is yet."""
        return self._scratch / secrets.token_hex(16)

    def files(self) -> Iterator[File]:
        """Every finished file: `put` and `adopt` make two folders deep keys, such as checkpoints/JOB/NAME.

        Whatever else lies in the folder is not ours. Raises StorageError.
        """
        with _storage_errors():
            for kind in FOLDERS:
                for path in self._root.glob(f"{kind}/*/*"):
                    with suppress(FileNotFoundError):  # replaced a moment ago
                        known = path.stat()
                        if S_ISREG(known.st_mode):
                            age = time.time() - known.st_mtime
                            yield File(path.relative_to(self._root).as_posix(), known.st_size, age)

    def take_turn(self, seconds: float) -> bool:
        """Whether nobody has taken a turn for this long, whichever machine they are on; then it is ours."""
        mark = self._scratch / "turn"
        with _storage_errors():
            if mark.exists() and 0 <= time.time() - mark.stat().st_mtime < seconds:
                return False
            mark.touch()
        return True

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
