"""A piece of expensive work: whose it is, and a cancellation that reaches its thread and its processes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO


class Cancelled(Exception):
    """Nobody waits for the result any more."""


class CancellableTask:
    """One piece of expensive work: whose it is, and how another thread ends it."""

    def __init__(self, tenant: str = "") -> None:
        self.tenant = tenant
        self._lock = threading.Lock()
        self._cancelled = False
        self._stops: list[Callable[[], None]] = []
        self._files: list[BinaryIO] = []

    def cancel(self) -> None:
        """End it: what it waits for is stopped, and `check` raises from now on."""
        with self._lock:
            self._cancelled = True
            stops = list(self._stops)
        for stop in stops:
            stop()

    def check(self) -> None:
        """Raise Cancelled if it was."""
        if self._cancelled:
            raise Cancelled

    def close_on_discard(self, file: BinaryIO) -> BinaryIO:
        """The file, which is part of the result: it is closed where nobody takes that."""
        self._files.append(file)
        return file

    def discard(self) -> None:
        """Nobody takes the result."""
        for file in self._files:
            file.close()

    @contextmanager
    def on_cancel(self, stop: Callable[[], None]) -> Iterator[None]:
        """While inside, cancelling calls `stop`, e.g. a process's kill; raises Cancelled.

        At once if it was before: what is to be stopped is there already, and somebody may wait for its end.
        """
        with self._lock:
            late = self._cancelled
            if not late:
                self._stops.append(stop)
        if late:
            stop()
            raise Cancelled
        try:
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)
        self.check()


_current: ContextVar[CancellableTask | None] = ContextVar("work", default=None)


def begin(work: CancellableTask) -> None:
    """Make it the current work of this context, and of the threads that are started from it."""
    _current.set(work)


def current() -> CancellableTask:
    """The work that this thread does; one that nobody cancels where none was begun."""
    return _current.get() or CancellableTask()
