"""An artifact store in a folder. `put` and `adopt` are durable (fsync) when they return."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
from contextlib import contextmanager, suppress
from stat import S_ISREG
from typing import TYPE_CHECKING

from service.artifacts.durable import fsync, storage_errors
from service.artifacts.hashing import sha256_of
from service.artifacts.interface import CHUNK_BYTES, DEPLOYMENT_ID, FOLDERS, TRASH, UPLOADS, Artifacts, File, checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
PLACE = "the artifact store"  # in messages

SCRATCH = "tmp"


class FolderArtifacts(Artifacts):
    """An artifact store in a folder."""

    is_local = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scratch = root / SCRATCH
        self._scratch.mkdir(parents=True, exist_ok=True)

    def path(self, key: str, sha256: str = "") -> Path:
        """The path of this key's file, which need not exist; callers compare the SHA-256 where it matters."""
        return self.root / checked(key)

    def size(self, key: str) -> int | None:
        """See Artifacts."""
        with storage_errors(PLACE):
            try:
                return self.path(key).stat().st_size
            except FileNotFoundError:
                return None

    def sha256(self, key: str) -> str:
        """See Artifacts."""
        return sha256_of(self.path(key))

    def address(self, key: str) -> str:
        """See Artifacts."""
        return str(self.path(key) if key else self.root)

    def put(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Store `data` atomically: write, fsync, rename, fsync the folder; raises StorageError, with no effect."""
        with storage_errors(PLACE):
            source = self._new_scratch_path()
            try:
                with source.open("xb") as file:  # not mkstemp, which ignores the umask
                    file.write(data)
                self.adopt(source, key)
            finally:
                source.unlink(missing_ok=True)

    def adopt(self, source: Path, key: str, *, replace: bool = False) -> None:
        """Move a file from `scratch()` to `key`, as durably as `put`; raises StorageError."""
        target = self.path(key)
        with storage_errors(PLACE):
            new = [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            fsync(source)
            source.replace(target)
            for folder in (target.parent, *(folder.parent for folder in new)):
                fsync(folder)

    def delete(self, key: str) -> bool:
        """Delete this key's file if it exists, and its folder if empty; returns whether it no longer exists.

        Logs errors instead of raising: the garbage collector tries again later.
        """
        path = self.path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("could not remove %s, retrying later: %s", key, error.strerror or error)
            return False
        self._remove_empty(path.parent)
        return True

    def move_to_trash(self, key: str) -> bool:
        """Move this key's file to the trash; returns whether it is no longer at its key."""
        path, target = self.path(key), self.path(f"{TRASH}/{key}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        except FileNotFoundError:
            return True  # another process was faster
        except OSError as error:
            log.warning("could not move %s to the trash, retrying later: %s", key, error.strerror or error)
            return False
        self._remove_empty(path.parent)
        return True

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # not empty, or removed by another process
            folder.rmdir()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder on the same file system, for `adopt`; removed at the end."""
        with storage_errors(PLACE):
            folder = self._new_scratch_path()
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _new_scratch_path(self) -> Path:
        """An unused path in the scratch folder."""
        return self._scratch / secrets.token_hex(16)

    def files(self) -> Iterator[File]:
        """All stored files; keys have three parts, such as checkpoints/JOB/NAME.

        Other files in the folder are ignored. Raises StorageError.
        """
        for kind in FOLDERS:
            yield from self._glob(f"{kind}/*/*")

    def trash(self) -> Iterator[File]:
        """All files in the trash. Raises StorageError."""
        for kind in FOLDERS:
            yield from self._glob(f"{TRASH}/{kind}/*/*")

    def _glob(self, pattern: str) -> Iterator[File]:
        with storage_errors(PLACE):
            for path in self.root.glob(pattern):
                with suppress(FileNotFoundError):  # removed meanwhile
                    stat = path.stat()
                    if S_ISREG(stat.st_mode):
                        yield File(path.relative_to(self.root).as_posix(), stat.st_size)

    def unfinished(self) -> list[str]:
        """Names in the scratch folder: files being written, or left by killed processes. Raises StorageError."""
        with storage_errors(PLACE):
            return [f"{SCRATCH}/{path.name}" for path in self._scratch.iterdir()]

    def remove_unfinished(self, name: str) -> bool:
        """Delete a file or folder listed by `unfinished`; returns whether it no longer exists."""
        path = self.path(name)
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except FileNotFoundError:
            return True  # its writer has just finished
        except OSError as error:
            log.warning("could not remove %s, retrying later: %s", name, error.strerror or error)
            return False
        return True

    def deployment_id(self) -> str | None:
        """The deployment id stored in the folder; None if there is none yet. Raises StorageError."""
        with storage_errors(PLACE):
            try:
                return self.path(DEPLOYMENT_ID).read_text().strip()
            except FileNotFoundError:
                return None

    def url(self, key: str, seconds: int) -> None:
        """None: a folder has no URLs."""

    def upload_url(self, key: str, seconds: int) -> None:
        """None: a folder has no URLs."""

    def parts(self, upload: str | None = None) -> Iterator[File]:
        """See Artifacts."""
        return self._glob(f"{UPLOADS}/{upload or '*'}/*")

    def chunks(self, key: str) -> Iterator[bytes]:
        """See Artifacts."""
        with self.path(key).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def check(self) -> None:
        """Raise StorageError if the folder is not writable."""
        with storage_errors(PLACE), tempfile.TemporaryFile(dir=self._scratch) as file:
            file.write(b"x")
