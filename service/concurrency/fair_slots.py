"""A concurrency limiter that is fair between tenants, for expensive tasks."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from service.concurrency.cancellation import CancellableTask, set_current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


class _Waiter:
    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.granted = False


class Slots(Protocol):
    """Slots of one kind of task, which tenants hold for a while."""

    @property
    def waiting(self) -> int:
        """Number of tasks of this process that wait for a slot."""

    def slot(self, tenant: str) -> AbstractAsyncContextManager[None]:
        """Wait until `tenant` gets a slot, and hold it within the context."""


class FairLimiter:
    """Limits concurrency of one kind of task: FIFO within a tenant, fair between tenants.

    `shared`: slots that several processes share, in place of as many of its own; see `FairSlots`.
    """

    def __init__(self, slots: int, per_tenant: int | None = None, shared: Slots | None = None) -> None:
        self._slots = FairSlots(slots, per_tenant) if shared is None else shared
        self._threads = CapacityLimiter(slots)

    @property
    def waiting(self) -> int:
        """Number of waiting tasks."""
        return self._slots.waiting

    async def run(self, tenant: str, function: Callable[..., T], *args: object) -> T:
        """Run `function` in a thread of a separate pool once `tenant` has a slot; returns its result.

        Cancelled while it waits, it never starts. Cancelled while it runs, the callbacks of `CancellableTask.on_cancel`
        are called, and the slot is freed when the thread has ended.
        """
        async with self._slots.slot(tenant):
            task = CancellableTask(tenant)
            thread = asyncio.ensure_future(self._in_thread(task, partial(function, *args)))
            try:
                return await asyncio.shield(thread)
            except asyncio.CancelledError:
                task.cancel()
                with CancelScope(shield=True):  # temporary files of the request are deleted when this returns
                    await asyncio.wait([thread])
                with suppress(BaseException):
                    thread.result()
                task.discard()
                raise

    async def _in_thread(self, task: CancellableTask, function: Callable[[], T]) -> T:
        set_current(task)  # inherited by the thread; the context is that of this asyncio task alone
        return await to_thread.run_sync(function, limiter=self._threads)


class FairSlots:
    """The slots of one process. Thread-safe.

    A free slot goes to the waiting tenant with the fewest slots; ties go to the least recently served one. No tenant
    gets more than `per_tenant` slots, so that long tasks of one leave slots to others.
    """

    def __init__(self, slots: int, per_tenant: int | None = None) -> None:
        self._free = slots
        self.per_tenant = slots if per_tenant is None else per_tenant
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._served: Counter[str] = Counter()  # number of the last grant
        self._grants = 0
        self._waiting: dict[str, deque[_Waiter]] = {}

    @property
    def waiting(self) -> int:
        """Number of waiting tasks."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """See `Slots.slot`."""
        await self._acquire(tenant)
        try:
            yield
        finally:
            self._release(tenant)

    async def _acquire(self, tenant: str) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed at shutdown
                loop.call_soon_threadsafe(woken.set)

        waiter = self._enqueue(tenant, wake)
        try:
            if not waiter.granted:
                await woken.wait()
        except BaseException:
            self._withdraw(tenant, waiter)
            raise

    def _enqueue(self, tenant: str, wake: Callable[[], None]) -> _Waiter:
        waiter = _Waiter(wake)
        with self._lock:
            self._waiting.setdefault(tenant, deque()).append(waiter)
            self._grant()
        return waiter

    def _withdraw(self, tenant: str, waiter: _Waiter) -> None:
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
        """Assign free slots to waiters; the caller holds the lock."""
        while self._free:
            eligible = [tenant for tenant in self._waiting if self._held[tenant] < self.per_tenant]
            if not eligible:
                return
            tenant = min(eligible, key=lambda tenant: (self._held[tenant], self._served[tenant]))
            waiter = self._waiting[tenant].popleft()
            if not self._waiting[tenant]:
                del self._waiting[tenant]
            self._grants += 1
            self._served[tenant] = self._grants
            self._held[tenant] += 1
            self._free -= 1
            waiter.granted = True
            waiter.wake()
