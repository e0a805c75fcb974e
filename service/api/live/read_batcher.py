"""Short reads of many requests, done one after the other by one thread: to hand each over would cost more than it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class ReadBatcher:
    """One a process, on the event loop. Those that come while the thread is busy are its next turn, all together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, read: Callable[[], T]) -> T:
        """What `read` returns or raises."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((read, future))
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        while self._waiting:
            turn, self._waiting = self._waiting, []
            try:
                outcomes = await run_in_threadpool(_each, [read for read, _ in turn])
            except Exception as error:  # no thread could be had: nobody is left waiting
                outcomes = [(None, error)] * len(turn)
            for (_, future), (result, problem) in zip(turn, outcomes, strict=True):
                if future.done():  # who asked has left
                    continue
                if problem is None:
                    future.set_result(result)
                else:
                    future.set_exception(problem)
        self._task = None


def _each(reads: list[Callable[[], Any]]) -> list[tuple[Any, Exception | None]]:
    outcomes: list[tuple[Any, Exception | None]] = []
    for read in reads:
        try:
            outcomes.append((read(), None))
        except Exception as error:  # it is raised where it was asked for
            outcomes.append((None, error))
    return outcomes
