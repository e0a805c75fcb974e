"""Bounds the checkpoint files that a trainer has replaced and that wait to be collected."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.artifacts import Artifacts

log = logging.getLogger(__name__)

SUPERSEDED_BYTES = 4 * 1024**3
LEAST_BYTES = 256 * 1024  # that a file counts as: folders of a hundred thousand small files are no good either


class SupersededCheckpoints:
    """The files that one trainer has replaced, oldest first, whichever of its jobs they were of.

    The collector takes them after the grace period, so that a backup that is under way finds them. Until then they
    may take so many bytes, or what is left of the disk; beyond it the oldest go at once.
    """

    def __init__(self, artifacts: Artifacts, most_bytes: int = SUPERSEDED_BYTES) -> None:
        self._artifacts, self._most = artifacts, most_bytes
        self._files: deque[tuple[str, int]] = deque()
        self._bytes = 0

    def add(self, keys: Iterable[str]) -> None:
        """No row names these any more."""
        for key in sorted(keys):
            size = max(self._size(key), LEAST_BYTES)
            self._files.append((key, size))
            self._bytes += size
        self._shrink(self._most)

    def make_room(self) -> bool:
        """The disk is full: delete them all; whether there were any."""
        before = len(self._files)
        self._shrink(0)
        return len(self._files) < before

    def _shrink(self, most: int) -> None:
        """Those that cannot be deleted are left to the collector."""
        while self._files and self._bytes > most:
            key, size = self._files.popleft()
            self._bytes -= size
            self._artifacts.delete(key)

    def _size(self, key: str) -> int:
        try:
            return self._artifacts.path(key).stat().st_size
        except OSError:
            return 0
