"""Runs short database reads in batches in one thread: a thread switch per read costs more than the read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class ReadBatcher:
    """One per process, on the event loop. Reads that arrive while the thread is busy form its next batch."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, tuple[Callable[[], Any], list[asyncio.Future[Any]]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def run(self, read: Callable[[], T], key: Hashable = None) -> T:
        """What `read` returns or raises; `key`: reads of a batch with the same key are one read, whose result they
        share."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(future if key is None else key, (read, []))[1].append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        while self._waiting:
            batch, self._waiting = list(self._waiting.values()), {}
            try:
                outcomes = await run_in_threadpool(_each, [read for read, _ in batch])
            except Exception as error:  # no thread could be started: fail the whole batch
                outcomes = [(None, error)] * len(batch)
            for (_, futures), (result, problem) in zip(batch, outcomes, strict=True):
                for future in futures:
                    if future.done():  # its client has disconnected
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
        except Exception as error:  # raised in `run`
            outcomes.append((None, error))
    return outcomes
