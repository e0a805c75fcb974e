"""Bytes by key in a folder: data sets and checkpoints. What `put` or `adopt` has returned from survives a power cut."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import TYPE_CHECKING

from service.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

FOLDERS = ("checkpoints", "datasets")  # what keys begin with
TRASH = "trash"  # and what the keys of files begin with that were moved away, before the keys that they had
SCRATCH = "tmp"
DEPLOYMENT = "deployment-id"


@dataclass(frozen=True)
class File:
    """A finished file: its key and its size in bytes."""

    key: str
    size_bytes: int


class Artifacts:
    """A folder of immutable files. Keys are made by this service alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scratch = root / SCRATCH
        self._scratch.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the file of this key is, whether or not it exists."""
        parts = PurePosixPath(key).parts
        if not parts or ".." in parts or PurePosixPath(key).is_absolute():
            raise ValueError(f"not an artifact key: {key!r}")
        return self.root.joinpath(*parts)

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

    def delete(self, key: str) -> bool:
        """Remove the file of this key, if there is one, and its folder when it was the last there.

        Whether it is gone: a file that cannot be removed is nothing that anybody's work should fail for.
        """
        path = self.path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s could not be removed, trying again later: %s", key, error.strerror or error)
            return False
        self._remove_empty(path.parent)
        return True

    def move_to_trash(self, key: str) -> bool:
        """Move the file of this key to the same place below `trash`; whether it is gone from where it was."""
        path, target = self.path(key), self.path(f"{TRASH}/{key}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        except FileNotFoundError:
            return True  # somebody else was quicker
        except OSError as error:
            log.warning("%s could not be moved to the trash, trying again later: %s", key, error.strerror or error)
            return False
        self._remove_empty(path.parent)
        return True

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # others are in it, or somebody else has just removed it
            folder.rmdir()

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
        for kind in FOLDERS:
            yield from self._found(f"{kind}/*/*")

    def trash(self) -> Iterator[File]:
        """Every file in the trash. Raises StorageError."""
        for kind in FOLDERS:
            yield from self._found(f"{TRASH}/{kind}/*/*")

    def _found(self, pattern: str) -> Iterator[File]:
        with _storage_errors():
            for path in self.root.glob(pattern):
                with suppress(FileNotFoundError):  # replaced a moment ago
                    known = path.stat()
                    if S_ISREG(known.st_mode):
                        yield File(path.relative_to(self.root).as_posix(), known.st_size)

    def unfinished(self) -> list[str]:
        """What lies in the scratch folder: somebody is writing it, or was killed meanwhile. Raises StorageError."""
        with _storage_errors():
            return [f"{SCRATCH}/{path.name}" for path in self._scratch.iterdir()]

    def remove_unfinished(self, name: str) -> bool:
        """Remove what `unfinished` named; whether it is gone."""
        path = self.path(name)
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except FileNotFoundError:
            return True  # somebody has just finished it
        except OSError as error:
            log.warning("%s could not be removed, trying again later: %s", name, error.strerror or error)
            return False
        return True

    def deployment_id(self) -> str | None:
        """Whose folder it is; None where it has no id yet. Raises StorageError."""
        with _storage_errors():
            try:
                return self.path(DEPLOYMENT).read_text().strip()
            except FileNotFoundError:
                return None

    def set_deployment_id(self, deployment: str) -> None:
        """Say whose folder it is. Raises StorageError."""
        self.put(DEPLOYMENT, f"{deployment}\n".encode())

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
