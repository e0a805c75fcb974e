"""The parent of several API processes on one port: holds the socket, restarts and replaces them, shares slots."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from service.api.processes.messages import Channel, Message
from service.api.slots import SLOTS
from service.concurrency.fair_slots import FairSlots

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

START_SECONDS = 60.0  # until a new process must be ready
STOP_SECONDS = 40.0  # for a process to answer its requests in progress
RESTART_SECONDS = 1.0
ANSWER_SECONDS = 2.0  # for the metrics of a process


class ApiProcesses:
    """Runs `processes` API processes that accept connections from one socket, until SIGTERM or SIGINT.

    A process that dies is restarted. SIGHUP replaces them one by one, by what is installed then: a new process is ready
    before an old one stops, and the socket stays open. A process whose parent ends stops, too.
    """

    def __init__(self, command: Sequence[str], listening: socket.socket, processes: int) -> None:
        """`command` starts a process; it gets `--process LISTENING,LINK,NUMBER,PROCESSES`, two of them descriptors."""
        self._command, self._listening, self._count = command, listening, processes
        self._slots = {work: FairSlots(*limits) for work, limits in SLOTS.items()}
        self._children: dict[int, _Child] = {}
        self._stopping = asyncio.Event()
        self._replace = asyncio.Event()

    async def run(self) -> int:
        """Returns the exit code: not 0 if the first processes do not start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._replace.set)
        codes = await asyncio.gather(*(self._start(number) for number in range(self._count)))
        failed = next((code for code in codes if code is not None), None)
        if failed is None:
            log.info("%d API processes are ready", self._count)
            await self._supervise()
        await asyncio.gather(*(child.stop() for child in self._children.values()))
        return failed or 0

    async def _supervise(self) -> None:
        """Restart what dies and replace what is to be replaced, until `_stopping` is set."""
        stopping = asyncio.create_task(self._stopping.wait())
        while not stopping.done():
            replacing = asyncio.create_task(self._replace.wait())
            ended = {child.ended: number for number, child in self._children.items()}
            done, _ = await asyncio.wait({stopping, replacing, *ended}, return_when=asyncio.FIRST_COMPLETED)
            replacing.cancel()
            if stopping in done:
                return
            for number in [ended[task] for task in ended if task in done]:
                await self._restart(number)
            if self._replace.is_set():
                self._replace.clear()
                await self._replace_all()

    async def _restart(self, number: int) -> None:
        child = self._children[number]
        log.error("API process %d ended with exit code %s; starting another", number, child.ended.result())
        lived = time.monotonic() - child.started_at
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), max(0.0, RESTART_SECONDS - lived))
        if not self._stopping.is_set():
            await self._start(number)

    async def _replace_all(self) -> None:
        for number in range(self._count):
            old = self._children[number]
            if await self._start(number) is not None:
                log.error("the new API process %d does not start; the old ones go on", number)
                return
            await old.stop()
        log.info("replaced %d API processes", self._count)

    async def _start(self, number: int) -> int | None:
        """Start process `number` and wait until it is ready; the exit code if it is not, and the old one stays."""
        mine, its = socket.socketpair()
        with its:
            place = f"{self._listening.fileno()},{its.fileno()},{number},{self._count}"
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "--process",
                place,
                pass_fds=[self._listening.fileno(), its.fileno()],
                start_new_session=True,  # Ctrl+C is for the parent alone
            )
        child = _Child(process, await Channel.open(mine), self, number)
        stopping = asyncio.create_task(self._stopping.wait())
        ready = asyncio.create_task(child.ready.wait())
        await asyncio.wait({ready, child.ended, stopping}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        ready.cancel()
        if child.ready.is_set() or (self._stopping.is_set() and not child.ended.done()):
            self._children[number] = child
            return None
        if not child.ended.done():
            log.error("API process %d is not ready after %d seconds; stopping it", number, START_SECONDS)
        await child.stop()
        old = self._children.get(number)
        if old is None or old.ended.done():
            self._children[number] = child
        return child.ended.result() or 1

    def slots(self, work: str) -> FairSlots:
        """The slots for this kind of work."""
        return self._slots[work]

    async def metrics_of_others(self, asking: int) -> dict[str, Any]:
        """The metrics of the other processes, by number."""
        others = [(number, child) for number, child in self._children.items() if number != asking]
        found = await asyncio.gather(*(child.metrics() for _, child in others))
        return {f"{number}": metrics for (number, _), metrics in zip(others, found, strict=True) if metrics is not None}


class _Child:
    """An API process: its messages, and the slots that it holds."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel, parent: ApiProcesses, number: int):
        self._process, self._channel, self._parent, self._number = process, channel, parent, number
        self.ready, self.started_at = asyncio.Event(), time.monotonic()
        self._held: dict[int, asyncio.Task[None]] = {}
        self._ids, self._answers = count(), dict[int, asyncio.Future[Any]]()
        self.ended = asyncio.create_task(self._run())

    async def _run(self) -> int:
        """Serve its messages until it ends; returns its exit code."""
        tasks = set[asyncio.Task[None]]()
        async for message in self._channel.messages():
            match message["kind"]:
                case "ready":
                    self.ready.set()
                case "acquire":
                    self._held[message["id"]] = asyncio.create_task(self._hold(message))
                case "release":
                    self._held.pop(message["id"]).cancel()
                case "metrics":
                    tasks.add(task := asyncio.create_task(self._answer_metrics(message)))
                    task.add_done_callback(tasks.discard)
                case "answer":
                    if future := self._answers.pop(message["id"], None):
                        future.set_result(message["answer"])
        for task in self._held.values():
            task.cancel()
        code = await self._process.wait()
        self._channel.close()
        return code

    async def _hold(self, message: Message) -> None:
        async with self._parent.slots(message["work"]).slot(message["tenant"]):
            self._channel.send(kind="answer", id=message["id"], answer=None)
            await asyncio.Event().wait()  # until it is released: then this task is cancelled

    async def _answer_metrics(self, message: Message) -> None:
        found = await self._parent.metrics_of_others(self._number)
        self._channel.send(kind="answer", id=message["id"], answer=found)

    async def metrics(self) -> list[Any] | None:
        """Its metrics; None if it does not answer in time."""
        number = next(self._ids)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        self._channel.send(kind="read_metrics", id=number)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found: list[Any] = await future
                return found
        except TimeoutError:
            return None
        finally:
            self._answers.pop(number, None)

    async def stop(self) -> None:
        """Let it answer its requests in progress; kill it if that takes too long."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        done, _ = await asyncio.wait({self.ended}, timeout=STOP_SECONDS)
        if not done:
            self._process.kill()
        await self.ended


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """A listening socket that child processes can inherit; raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.create_server(address[:2], family=family, backlog=backlog)
    listening.setblocking(False)
    listening.set_inheritable(True)
    return listening


def command_of(host: str, port: int) -> list[str]:
    """How to start an API process of this port."""
    return [sys.executable, "-P", "-m", "service.cli", "api", "--host", host, "--port", str(port)]
