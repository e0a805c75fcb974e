"""Locks on files that processes of one machine share; the kernel releases them when their process ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file at this path, which is created if it is not there; waits for other holders."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(path, handle):
                yield
                return
        finally:
            os.close(handle)


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Hold a lock on a folder that only this process knows."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    """Whether the open file is still at its path: the holder before may have renamed or deleted it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Whether a live process holds a lock on this file or folder."""
    with suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False
