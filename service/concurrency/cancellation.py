"""Cooperative cancellation of expensive tasks that run in threads and child processes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO


class Cancelled(Exception):
    """The task was cancelled: its client has disconnected."""


class CancellableTask:
    """A task that runs in a thread and that another thread can cancel."""

    def __init__(self, tenant: str = "") -> None:
        self.tenant = tenant
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._files: list[BinaryIO] = []

    def cancel(self) -> None:
        """Cancel: calls the `on_cancel` callbacks; `check` raises from now on."""
        with self._lock:
            self._cancelled = True
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise Cancelled if the task was cancelled."""
        if self._cancelled:
            raise Cancelled

    def close_on_discard(self, file: BinaryIO) -> BinaryIO:
        """Register a file that is part of the result, to be closed by `discard`; returns it."""
        self._files.append(file)
        return file

    def discard(self) -> None:
        """Close the files of a result that is not delivered."""
        for file in self._files:
            file.close()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """While in this context, `cancel` calls `callback`, e.g. a process's `kill`; raises Cancelled.

        If the task is already cancelled, the callback is called at once: the process has already started.
        """
        with self._lock:
            already = self._cancelled
            if not already:
                self._callbacks.append(callback)
        if already:
            callback()
            raise Cancelled
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)
        self.check()


_current: ContextVar[CancellableTask | None] = ContextVar("task", default=None)


def set_current(task: CancellableTask) -> None:
    """Make it the current task of this context and of threads started from it."""
    _current.set(task)


def current() -> CancellableTask:
    """The current task of this thread; one that is never cancelled if none was set."""
    return _current.get() or CancellableTask()
