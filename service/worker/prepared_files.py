"""Files of prepared rows, which the trainers of a worker map into their memory in place of copies of their own.

A file has a line of JSON, which lists the arrays and holds the fitted preprocessing, and then the arrays.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import mmap
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from service.data.preprocess.dataset import Prepared, Rows
from service.data.preprocess.preprocessing import Preprocessing
from service.training.progress import ProgressCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

MAX_BYTES = 2 * 1024**3  # of all files, unless a single one is larger
PARTS = ("train", "validation", "test")
ARRAYS = ("padded", "y", "weight", "codes", "row", "truth")
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
        part = self._folder / f"{key}{UNFINISHED}"
        try:
            while (lock := _lock(part, os.O_CREAT)) is None:
                time.sleep(WAIT_SECONDS)
                self._progress.value += 1
        except OSError as error:
            log.warning(NOT_SHARED, error)
            return prepare()
        try:
            found = self._mapped(key)
            return self._shared(key, part, prepare()) if found is None else found
        finally:
            if _names(part, lock):
                part.unlink(missing_ok=True)
            os.close(lock)

    def _mapped(self, key: str) -> Prepared | None:
        path = self._path(key)
        try:
            found = _read(path)
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
            self._make_room(prepared.nbytes)
            _write(part, prepared)
            found = _read(part)
            part.replace(self._path(key))
        except OSError as error:
            log.warning(NOT_SHARED, error)
            return prepared
        log.info("prepared rows for all trainers: %d bytes", found.nbytes)
        return found

    def _make_room(self, size: int) -> None:
        """Delete old files; raises OSError if a file of this size would take more than half of what is free."""
        total = size + self._unfinished()
        for _, own, file in sorted(self._used(), reverse=True):
            total += own
            if total > MAX_BYTES:
                file.unlink(missing_ok=True)
        if size > shutil.disk_usage(self._folder).free / 2:
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


def _names(path: Path, file: int) -> bool:
    """Whether the path names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _write(path: Path, prepared: Prepared) -> None:
    arrays = {
        f"{part}.{name}": values
        for part in PARTS
        for name in ARRAYS
        if (values := getattr(getattr(prepared, part), name)) is not None
    }
    listed: dict[str, Any] = {}
    end = 0
    for name, values in arrays.items():
        listed[name] = {"dtype": values.dtype.str, "shape": values.shape, "offset": end}
        end += _whole_pages(values.nbytes)
    header = {"arrays": listed, "preprocessing": prepared.preprocessing.model_dump_json()}
    line = json.dumps(header).encode() + b"\n"
    start = _whole_pages(len(line))
    with path.open("wb") as file:
        file.write(line)
        for name, values in arrays.items():
            file.seek(start + listed[name]["offset"])
            file.write(values.reshape(-1).view(np.uint8).data)
        file.truncate(start + end)


def _read(path: Path) -> Prepared:
    """The rows, as arrays on the mapped file: pages are shared until they are written to, which copies them."""
    with path.open("rb") as file:
        line = file.readline()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header, start = json.loads(line), _whole_pages(len(line))
    preprocessing = Preprocessing.model_validate_json(header["preprocessing"])
    arrays: dict[str, Any] = {
        name: np.ndarray(own["shape"], own["dtype"], buffer=mapped, offset=start + own["offset"])
        for name, own in header["arrays"].items()
    }
    train, validation, test = (
        {name: arrays[f"{part}.{name}"] for name in ARRAYS if f"{part}.{name}" in arrays} for part in PARTS
    )
    inputs = preprocessing.layout.numbers
    return Prepared(
        Rows(inputs=inputs, **train), Rows(inputs=inputs, **validation), Rows(inputs=inputs, **test), preprocessing
    )


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
