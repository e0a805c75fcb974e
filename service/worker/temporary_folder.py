"""A temporary folder of a process that is removed after it, also if the process is killed."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)


class TemporaryFolder:
    """A folder that this process holds a lock on until `close`, which removes it."""

    def __init__(self, prefix: str) -> None:
        """Remove the folders with this prefix that no process holds; create one. Raises OSError."""
        remove_stale(prefix)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=prefix))
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self.path.exists():
                return
            os.close(self._lock)  # another process has just removed it, before it was locked

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_stale(prefix: str) -> None:
    """Remove this user's folders with the prefix whose processes were killed: nobody holds their locks."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            folder = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            if os.fstat(folder).st_uid == os.geteuid():
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass  # in use
        finally:
            os.close(folder)


def folder_of_prepared_files() -> TemporaryFolder | None:
    """A folder for rows that trainers share or stream; None if it cannot be made: rows are in memory."""
    try:
        return TemporaryFolder("bestepoch-rows-")
    except OSError as error:
        log.warning("trainers neither share nor stream rows: %s", error)
        return None
