"""The local cache of an object store: files by SHA-256, shared by the processes of a machine, bounded in bytes."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from service.artifacts.durable import fsync, storage_errors
from service.artifacts.hashing import sha256_of
from service.artifacts.locks import is_locked, locked_file, locked_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
PLACE = "the cache of artifacts"  # in messages

IN_USE_SECONDS = 600.0  # after its last use a file is not evicted: a process may be about to open it
TOUCH_SECONDS = 60.0  # between two updates of a file's time of use
LEFTOVER_SECONDS = 3_600.0  # minimum age of an unlocked scratch folder or partial file that is deleted
SCAN_SHARE = 1 / 64  # of the bound, which a process may add between two scans for files to evict
MAX_REMEMBERED = 10_000  # verified files
TRIES = 2  # of a download whose SHA-256 is wrong


class FileCache:
    """A folder with `files/XX/SHA256`, each written by a rename, and `tmp` with scratch folders and partial files.

    The modification time of a file is that of its last use; the least recently used files are evicted.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._files, self._scratch, self._max_bytes = folder / "files", folder / "tmp", max_bytes
        self._verified: dict[str, tuple[int, int]] = {}  # SHA-256 -> inode and size of a file that had it
        self._unscanned = max_bytes  # bytes added since the last scan; the first file causes one
        with storage_errors(PLACE):
            self._files.mkdir(parents=True, exist_ok=True)
            self._scratch.mkdir(exist_ok=True)
            self._remove_leftovers()

    def path(self, sha256: str, fetch: Callable[[Path], str | None]) -> Path:
        """The path of the file with this SHA-256; one that does not exist if it cannot be had.

        `fetch(target)` downloads it and returns the SHA-256 of what it wrote, or None if there is no such file. One
        process fetches a file while others wait for it. Raises StorageError, and what `fetch` raises.
        """
        target = self._files / sha256[:2] / sha256
        with storage_errors(PLACE):
            if self._is_intact(target):
                return target
            target.parent.mkdir(exist_ok=True)
            partial = self._scratch / f"{sha256}.part"
            with locked_file(partial):
                if self._is_intact(target):  # another process has just fetched it
                    partial.unlink(missing_ok=True)
                    return target
                self._fetch_to(target, partial, fetch)
        return target

    def _fetch_to(self, target: Path, partial: Path, fetch: Callable[[Path], str | None]) -> None:
        """Fetch the file, if there is one, to `partial`, which is locked, and move it to `target`."""
        try:
            fetched = self._fetch(partial, target.name, fetch)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        if not fetched:
            partial.unlink(missing_ok=True)
            return
        self._remember(partial, target.name)
        partial.replace(target)
        self._unscanned += target.stat().st_size
        if self._unscanned > self._max_bytes * SCAN_SHARE:
            self._unscanned = 0
            self.evict(self._max_bytes)

    def _fetch(self, partial: Path, sha256: str, fetch: Callable[[Path], str | None]) -> bool:
        """Whether `partial` is now durably the file with this SHA-256. On a full disk the cache makes room."""
        for _ in range(TRIES):
            try:
                found = fetch(partial)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.evict(0):
                    raise
                found = fetch(partial)
            if found is None:
                return False
            if found == sha256:
                fsync(partial)
                return True
            log.warning("the artifact store sent a file with the SHA-256 %s instead of %s", found, sha256)
        return False

    def _is_intact(self, path: Path) -> bool:
        """Whether the file is there. Its SHA-256 is computed at its first use by this process, then its stat compared.

        A damaged file is deleted.
        """
        try:
            if self._verified.get(path.name) != _identity(path):
                if sha256_of(path) != path.name:
                    log.warning("deleting a damaged file of the cache: %s", path.name)
                    path.unlink(missing_ok=True)
                    return False
                self._remember(path, path.name)
            if time.time() - path.stat().st_mtime > TOUCH_SECONDS:
                os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _remember(self, path: Path, sha256: str) -> None:
        if len(self._verified) >= MAX_REMEMBERED:
            self._verified.clear()
        self._verified[sha256] = _identity(path)

    def evict(self, max_bytes: int) -> int:
        """Delete the least recently used files until the others have at most `max_bytes`; returns how many.

        Files that were used in the last minutes stay. A process that has one open goes on reading it.
        """
        found = []
        for path in self._files.glob("*/*"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total, deleted, unused = sum(size for _, size, _ in found), 0, time.time() - IN_USE_SECONDS
        for used, size, path in sorted(found):
            if total <= max_bytes or used > unused:
                break
            path.unlink(missing_ok=True)
            total, deleted = total - size, deleted + 1
        return deleted

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder, removed at the end."""
        folder = self._scratch / secrets.token_hex(16)
        with storage_errors(PLACE):
            folder.mkdir()
            try:
                with locked_folder(folder):
                    yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        """Delete what killed processes have left: it is old, and nobody holds its lock."""
        for path in self._scratch.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS and not is_locked(path):
                    log.info("deleting %s, which a process that was killed has left", path)
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size
