"""Slots for expensive work, which tenants share fairly."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from service.concurrency.cancellation import CancellableTask, begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class _Waiter:
    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.granted = False


class FairLimiter:
    """Slots for one kind of work: first come, first served within a tenant, and fair between tenants.

    A free slot goes to the waiting tenant that holds the fewest; of equals, to the one that was served longest ago. No
    tenant holds more than `each`, so that one with long work leaves slots to others. Of any thread.
    """

    def __init__(self, slots: int, each: int | None = None) -> None:
        self._free = slots
        self.each = slots if each is None else each
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._served: Counter[str] = Counter()  # the number of the last grant
        self._grants = 0
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._threads = CapacityLimiter(slots)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    async def run(self, tenant: str, function: Callable[..., T], *args: object) -> T:
        """What `function` returns, in a thread apart from those of short requests, once `tenant` has a slot.

        Cancelled while it waits, it never starts. Cancelled while it runs, the callbacks of `CancellableTask.on_cancel`
        are called, and the slot is freed when the thread has ended.
        """
        await self._acquire(tenant)
        try:
            work = CancellableTask(tenant)
            thread = asyncio.ensure_future(self._in_thread(work, partial(function, *args)))
            try:
                return await asyncio.shield(thread)
            except asyncio.CancelledError:
                work.cancel()
                with CancelScope(shield=True):  # files of the request go when this returns
                    await asyncio.wait([thread])
                with suppress(BaseException):
                    thread.result()
                work.discard()
                raise
        finally:
            self._release(tenant)

    @contextmanager
    def slot(self, work: CancellableTask) -> Iterator[None]:
        """A slot for this thread, waited for as long as the work is not cancelled. Raises Cancelled."""
        woken = threading.Event()
        waiter = self._enqueue(work.tenant, woken.set)
        try:
            with work.on_cancel(woken.set):
                woken.wait()
        except BaseException:
            self._leave(work.tenant, waiter)
            raise
        try:
            yield
        finally:
            self._release(work.tenant)

    async def _in_thread(self, work: CancellableTask, function: Callable[[], T]) -> T:
        begin(work)  # which the thread inherits; this task's context is its own
        return await to_thread.run_sync(function, limiter=self._threads)

    async def _acquire(self, tenant: str) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: the service stops
                loop.call_soon_threadsafe(woken.set)

        waiter = self._enqueue(tenant, wake)
        try:
            if not waiter.granted:
                await woken.wait()
        except BaseException:
            self._leave(tenant, waiter)
            raise

    def _enqueue(self, tenant: str, wake: Callable[[], None]) -> _Waiter:
        waiter = _Waiter(wake)
        with self._lock:
            self._waiting.setdefault(tenant, deque()).append(waiter)
            self._grant()
        return waiter

    def _leave(self, tenant: str, waiter: _Waiter) -> None:
        with self._lock:
            if not waiter.granted:
                self._waiting[tenant].remove(waiter)
                if not self._waiting[tenant]:
                    del self._waiting[tenant]
                return
        self._release(tenant)

    def _release(self, tenant: str) -> None:
        with self._lock:
            self._free += 1
            self._held[tenant] -= 1
            if not self._held[tenant]:
                del self._held[tenant]
            self._grant()

    def _grant(self) -> None:
        """Give away free slots; holds the lock."""
        while self._free:
            able = [tenant for tenant in self._waiting if self._held[tenant] < self.each]
            if not able:
                return
            tenant = min(able, key=lambda tenant: (self._held[tenant], self._served[tenant]))
            waiter = self._waiting[tenant].popleft()
            if not self._waiting[tenant]:
                del self._waiting[tenant]
            self._grants += 1
            self._served[tenant] = self._grants
            self._held[tenant] += 1
            self._free -= 1
            waiter.granted = True
            waiter.wake()
