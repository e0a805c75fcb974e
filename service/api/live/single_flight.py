"""Runs one check for all who ask at the same time, and keeps nobody waiting for one that hangs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, to_thread

from service.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

ANSWER_SECONDS = 5.0


class SingleFlight:
    """One an application, on the event loop. A check has a thread to itself: those of requests may all be waiting."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)
        self._task: asyncio.Task[Any] | None = None

    async def run(self, check: Callable[[], T]) -> T:
        """What `check`, or one that is under way, returns or raises; Unavailable when it takes too long."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(to_thread.run_sync(check, limiter=self._limiter))
            self._task.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                result: T = await asyncio.shield(self._task)
                return result
        except TimeoutError:
            raise Unavailable(f"database and artifact store have not answered within {ANSWER_SECONDS:g} s") from None


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Nobody may be there any more to be told of an error."""
    if not task.cancelled():
        task.exception()
