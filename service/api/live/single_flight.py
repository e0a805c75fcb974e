"""Single flight: concurrent callers share one run of a check, with a timeout."""

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
    """One per application, on the event loop. The check has its own thread: those of requests may all be busy."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)
        self._task: asyncio.Task[Any] | None = None

    async def run(self, check: Callable[[], T]) -> T:
        """The result of `check`, or of the run in progress; raises Unavailable after ANSWER_SECONDS."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(to_thread.run_sync(check, limiter=self._limiter))
            self._task.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                result: T = await asyncio.shield(self._task)
                return result
        except TimeoutError:
            raise Unavailable(f"database or artifact store did not answer within {ANSWER_SECONDS:g} s") from None


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark the exception as retrieved: all callers may have timed out."""
    if not task.cancelled():
        task.exception()
