"""The folder of files of prepared rows, which the trainers of a worker map into their memory in place of copies of
their own, or stream from disk."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from service.data.preprocess.streamed import StreamedRows
from service.errors import StorageError
from service.training.progress import ProgressCounter
from service.worker import rows_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service.data.preprocess.dataset import Prepared

log = logging.getLogger(__name__)

MAX_BYTES = 2 * 1024**3  # of all files, unless a single one is larger
SHARE_OF_COPY = 0.5  # of the free disk, for rows that could stay in memory
SHARE_OF_STREAM = 0.9
SUFFIX = ".rows"
UNFINISHED = ".part"  # the suffix of a file whose writer holds a lock on it
WAIT_SECONDS = 0.05  # between two tries to lock it
NOT_SHARED = "prepared rows stay in this trainer's memory, because they cannot be shared: %s"


class PreparedFiles:
    """The files of a folder, by the keys of preparations; the least recently used are deleted first.

    A file that is deleted keeps its rows as long as a trainer maps it. A trainer that prepares rows holds a lock on the
    file that it is going to write, and renames it at the end.
    """

    def __init__(self, folder: Path, progress: ProgressCounter | None = None) -> None:
        """`progress` counts while this trainer waits for another one, which has a watchdog of its own."""
        self._folder = folder
        self._progress = ProgressCounter() if progress is None else progress  # a shared counter at 0 is falsy

    def get_or_prepare(self, key: str, prepare: Callable[[], Prepared]) -> Prepared:
        """The mapped rows. If no file has them, `prepare` makes them, in one trainer at a time, and others wait for it.

        Where files cannot be written or mapped, the rows are those of `prepare`, in this process alone.
        """
        found = self._mapped(key)
        if found is not None:
            return found
        try:
            part, lock = self._locked(key)
        except OSError as error:
            log.warning(NOT_SHARED, error)
            return prepare()
        try:
            found = self._mapped(key)
            return self._shared(key, part, prepare()) if found is None else found
        finally:
            _unlock(part, lock)

    def get_or_stream(self, key: str, stream: Callable[[], StreamedRows]) -> Prepared:
        """The mapped rows of a job that streams them; if no file has them, `stream` makes them, in one trainer at a
        time. Raises StorageError if the file cannot be written."""
        found = self._mapped(key, streamed=True)
        if found is not None:
            return found
        try:
            part, lock = self._locked(key)
            try:
                found = self._mapped(key, streamed=True)
                return self._streamed(key, part, stream()) if found is None else found
            finally:
                _unlock(part, lock)
        except OSError as error:
            raise StorageError(f"the rows cannot be streamed from the worker's disk: {error.strerror}") from error

    def count_progress(self) -> None:
        """Tell the watchdog that rows are being prepared."""
        self._progress.value += 1

    def _locked(self, key: str) -> tuple[Path, int]:
        """The unfinished file and a lock on it, when no other trainer holds one."""
        part = self._folder / f"{key}{UNFINISHED}"
        while (lock := _lock(part, os.O_CREAT)) is None:
            time.sleep(WAIT_SECONDS)
            self._progress.value += 1
        return part, lock

    def _streamed(self, key: str, part: Path, rows: StreamedRows) -> Prepared:
        """Write the rows to the locked file `part`, rename and map it."""
        os.truncate(part, 0)
        self._make_room(rows.nbytes, SHARE_OF_STREAM)
        rows_file.write_streamed(part, rows)
        found = rows_file.read(part, streamed=True)
        part.replace(self._path(key))
        log.info("rows to stream are on disk: %d bytes", found.nbytes)
        return found

    def _mapped(self, key: str, *, streamed: bool = False) -> Prepared | None:
        path = self._path(key)
        try:
            found = rows_file.read(path, streamed=streamed)
            os.utime(path)  # used now
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("prepared rows cannot be mapped: %s", error)
            return None
        log.info("mapped rows that another trainer has prepared")
        return found

    def _shared(self, key: str, part: Path, prepared: Prepared) -> Prepared:
        """Write the rows to the locked file `part`, rename and map it; `prepared` itself if that fails."""
        try:
            os.truncate(part, 0)  # what a killed writer has left
            self._make_room(prepared.nbytes, SHARE_OF_COPY)
            rows_file.write(part, prepared)
            found = rows_file.read(part)
            part.replace(self._path(key))
        except OSError as error:
            log.warning(NOT_SHARED, error)
            return prepared
        log.info("prepared rows for all trainers: %d bytes", found.nbytes)
        return found

    def _make_room(self, size: int, share: float) -> None:
        """Delete old files; raises OSError if a file of this size would take more than this share of what is free."""
        total = size + self._unfinished()
        for _, own, file in sorted(self._used(), reverse=True):
            total += own
            if total > MAX_BYTES:
                file.unlink(missing_ok=True)
        if size > shutil.disk_usage(self._folder).free * share:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

    def _used(self) -> Iterator[tuple[int, int, Path]]:
        """When each file was last used, and its size in bytes."""
        for file in self._folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):  # another trainer has just deleted it
                found = file.stat()
                yield found.st_mtime_ns, found.st_size, file

    def _unfinished(self) -> int:
        """The bytes of files that trainers are writing; those whose writers were killed are deleted."""
        total = 0
        for part in self._folder.glob(f"*{UNFINISHED}"):
            with suppress(FileNotFoundError):  # its writer has just renamed it
                lock = _lock(part)
                if lock is None:
                    total += part.stat().st_size
                else:
                    part.unlink()
                    os.close(lock)
        return total

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"


def _lock(path: Path, flags: int = 0) -> int | None:
    """A descriptor of the file that holds a lock on it; None if another one does, or has just renamed or deleted it.

    The system releases the lock if this process is killed.
    """
    file = os.open(path, os.O_RDWR | flags, 0o600)
    locked = False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = _names(path, file)
    except BlockingIOError:
        pass
    finally:
        if not locked:
            os.close(file)
    return file if locked else None


def _unlock(part: Path, lock: int) -> None:
    """Release the lock, and remove the file unless it has been renamed."""
    if _names(part, lock):
        part.unlink(missing_ok=True)
    os.close(lock)


def _names(path: Path, file: int) -> bool:
    """Whether the path names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
