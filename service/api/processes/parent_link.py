"""An API process's end of the channel to its parent: shared slots, the metrics of the other processes, the end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from service.api.processes.messages import Channel, Message

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

METRICS_SECONDS = 5.0


@dataclass(frozen=True)
class ProcessPlace:
    """Which of the API processes of one port this is."""

    number: int
    """From 0. The first one does what only one process needs to do."""
    processes: int


class ParentLink:
    """Created before the event loop; `start` connects. `on_end` is called when the parent has ended."""

    def __init__(self, end: socket.socket, place: ProcessPlace) -> None:
        self.place = place
        self._end = end
        self.on_end: Callable[[], None] = lambda: None
        self._channel: Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self._ids = count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.waiting: dict[str, int] = {}

    async def start(self, families: Callable[[], list[Any]]) -> None:
        """Tell the parent that this process is ready; `families`: its metrics, as JSON."""
        self._channel = await Channel.open(self._end)
        self._channel.send(kind="ready")
        self._task = asyncio.create_task(self._listen(self._channel, families), name="parent-link")

    async def _listen(self, channel: Channel, families: Callable[[], list[Any]]) -> None:
        async for message in channel.messages():
            if message["kind"] == "read_metrics":
                channel.send(kind="answer", id=message["id"], answer=families())
            else:
                self._resolve(message)
        self.on_end()

    def _resolve(self, message: Message) -> None:
        future = self._answers.pop(message["id"], None)
        if future is not None and not future.done():  # otherwise whoever asked has gone
            future.set_result(message["answer"])

    async def other_metrics(self) -> dict[str, list[Any]]:
        """The metrics of the other processes, by their number; without those that do not answer in time."""
        number, future = self._ask("metrics")
        try:
            async with asyncio.timeout(METRICS_SECONDS):
                found: dict[str, list[Any]] = await future
                return found
        except TimeoutError:
            return {}
        finally:
            self._answers.pop(number, None)

    @asynccontextmanager
    async def slot(self, work: str, tenant: str) -> AsyncIterator[None]:
        """Wait for a slot for this kind of work, among all processes, and hold it within the context."""
        number, granted = self._ask("acquire", work=work, tenant=tenant)
        self.waiting[work] = self.waiting.get(work, 0) + 1
        try:
            try:
                await granted
            finally:
                self.waiting[work] -= 1
            yield
        finally:
            self._answers.pop(number, None)
            assert self._channel is not None
            self._channel.send(kind="release", id=number)

    def _ask(self, kind: str, **details: Any) -> tuple[int, asyncio.Future[Any]]:
        assert self._channel is not None, "start() was called"
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._channel.send(kind=kind, id=number, **details)
        return number, self._answers[number]


@dataclass(frozen=True)
class SharedSlots:
    """The slots of one kind of work that all processes share: `Slots` of `concurrency/fair_slots.py`."""

    link: ParentLink
    work: str

    @property
    def waiting(self) -> int:
        """Number of tasks of this process that wait for a slot."""
        return self.link.waiting.get(self.work, 0)

    def slot(self, tenant: str) -> Any:
        """Wait until `tenant` gets a slot, and hold it within the context."""
        return self.link.slot(self.work, tenant)
