"""Bounds the superseded checkpoint files of a trainer: those that are replaced and wait for the garbage collector."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from service.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.artifacts import Artifacts

SUPERSEDED_BYTES = 4 * 1024**3
MIN_FILE_BYTES = 256 * 1024  # each file counts as at least this: a hundred thousand small files are a burden too


class SupersededCheckpoints:
    """The files that one trainer has replaced, oldest first, of all its jobs.

    The garbage collector deletes them after the grace period, so that a running backup still finds them. Until then
    they may take `max_bytes`; beyond that, or when the disk is full, the oldest are deleted at once.
    """

    def __init__(self, artifacts: Artifacts, max_bytes: int = SUPERSEDED_BYTES) -> None:
        self._artifacts, self._max_bytes = artifacts, max_bytes
        self._files: deque[tuple[str, int]] = deque()
        self._bytes = 0

    def add(self, keys: Iterable[str]) -> None:
        """No row names these files any more."""
        for key in sorted(keys):
            size = max(self._size(key) if self._artifacts.is_local else 0, MIN_FILE_BYTES)
            self._files.append((key, size))
            self._bytes += size
        self._shrink(self._max_bytes)

    def make_room(self) -> None:
        """The disk is full: delete them all."""
        self._shrink(0)

    def _shrink(self, max_bytes: int) -> None:
        """Files that cannot be deleted are left to the garbage collector."""
        while self._files and self._bytes > max_bytes:
            key, size = self._files.popleft()
            self._bytes -= size
            self._artifacts.delete(key)

    def _size(self, key: str) -> int:
        try:
            return self._artifacts.size(key) or 0
        except StorageError:
            return 0
