"""Log files of attempts: one per attempt, bounded in size; all together bounded in bytes, number and age."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from service.store.jobs.claim import Claim

log = logging.getLogger(__name__)

FILE_BYTES = 1024**2
"""Size of one log; its end is kept."""
MAX_FILES = 10_000
MAX_SECONDS = 30 * 24 * 3_600.0
TAIL_BYTES = 4_000
TRIM_SECONDS = 1.0
PRUNE_SECONDS = 60.0


def name_of(job_id: str, attempt: int) -> str:
    """The file's name in the log folder."""
    return f"{job_id}-{attempt}.log"


def path_of(folder: Path, claims: Sequence[Claim]) -> Path:
    """The log of an attempt at these jobs: an array shares one log, named after its first job."""
    return folder / name_of(claims[0].job_id, claims[0].attempt)


def begin(folder: Path, claims: Sequence[Claim]) -> None:
    """Switch to the log of this attempt; the other jobs of an array get symbolic links to it.

    If the disk is full, training continues with the previous log.
    """
    path = path_of(folder, claims)
    try:
        write_to(path)
        for claim in claims[1:]:
            link = folder / name_of(claim.job_id, claim.attempt)
            link.unlink(missing_ok=True)
            link.symlink_to(path.name)
    except OSError as error:
        log.warning("this attempt gets no log file: %s", error)


def write_to(path: Path) -> None:
    """Redirect stdout and stderr of this process to a file, including output of C libraries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, sys.stdout.fileno())
    os.dup2(handle, sys.stderr.fileno())
    os.close(handle)


def tail(*paths: Path) -> str | None:
    """The end of the first of these logs that is not empty."""
    for path in paths:
        with suppress(OSError):
            if data := _last(path, TAIL_BYTES):
                return data.decode(errors="replace").replace(
                    "\0", "\N{REPLACEMENT CHARACTER}"
                )  # Postgres' JSON has no NUL
    return None


class LogRotation:
    """Bounds the logs of a folder; several workers may share it. `max_bytes`: of all logs together."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._trim_at = self._prune_at = 0.0

    def rotate(self, in_use: Iterable[Path]) -> None:
        """Call often: truncates growing logs every second, deletes old ones every minute. Never raises OSError.

        `in_use`: the logs of this worker's trainers.
        """
        now = time.monotonic()
        if now < self._trim_at:
            return
        self._trim_at = now + TRIM_SECONDS
        prune = now >= self._prune_at
        for path in in_use:
            with suppress(OSError):
                trim(path, FILE_BYTES)
                if prune:
                    os.utime(path)  # so that a quiet log in use is not the oldest
        if prune:
            self._prune_at = now + PRUNE_SECONDS
            with suppress(OSError):
                prune_logs(self._folder, self._max_bytes)


def trim(path: Path, max_bytes: int) -> None:
    """Truncate a log larger than twice `max_bytes` to its end. A line written at the same time may be lost."""
    if path.stat().st_size <= 2 * max_bytes:
        return
    kept = _last(path, max_bytes)
    with path.open("r+b", buffering=0) as file:
        file.truncate(0)  # its writer appends
    with path.open("ab") as file:
        file.write(b"(truncated)\n" + kept)


def prune_logs(folder: Path, max_bytes: int) -> None:
    """Delete the oldest logs until the others are within the bounds, and broken links."""
    found = sorted(((path.lstat(), path) for path in folder.glob("*.log")), key=lambda each: -each[0].st_mtime)
    number, size, oldest = 0, 0, time.time() - MAX_SECONDS
    for known, path in found:
        number, size = number + 1, size + known.st_size
        if number > MAX_FILES or size > max_bytes or known.st_mtime < oldest:
            path.unlink(missing_ok=True)
    for _, path in found:
        if path.is_symlink() and not path.exists():
            path.unlink(missing_ok=True)


def _last(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(size, os.fstat(file.fileno()).st_size), os.SEEK_END)
        return file.read(size)
