"""Whether training stops within an epoch: to save a state that is due, or because the worker's notice runs out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

LOOK_SECONDS = 0.05  # between looks at the pipe
MIN_SAVE_SECONDS = 5.0  # within an epoch, between two saved states
EPOCH_SHARE = 0.5  # of the notice, for the end of the epoch; the remainder is for saving


class Interruption:
    """Asked after each training step; `begin` before each epoch, or what is left of one."""

    def __init__(self, pipe: Connection, drain_seconds: float, save_seconds: float) -> None:
        """`pipe`: to the supervisor; a message, or its end, says that training must stop within `drain_seconds`.

        `save_seconds`: between two saved states.
        """
        self._pipe, self._notice = pipe, drain_seconds * EPOCH_SHARE
        self._save_seconds = max(save_seconds, MIN_SAVE_SECONDS)
        self._look_at = self._save_at = 0.0
        self._stop_at: float | None = None
        self.stopping = False  # the last interruption was to stop training, not to save a state

    def begin(self) -> Interruption:
        """Training begins an epoch, or goes on with one."""
        now = time.monotonic()
        self._look_at, self._save_at = now + LOOK_SECONDS, now + self._save_seconds
        return self

    def __call__(self) -> bool:
        """Whether to stop after this step."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_SECONDS
        if self._stop_at is None and self._pipe.poll():
            self._stop_at = now + self._notice
        self.stopping = self._stop_at is not None and now >= self._stop_at
        return self.stopping or now >= self._save_at
