"""Wakes requests that wait for a job to change: one database query per change for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.store.jobs import jobs

if TYPE_CHECKING:
    from service.domain.status import Status
    from service.store.engine import Database
    from service.store.notifications import ChangeListener

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1  # latency of a new waiter while nothing changes
PAUSE_SECONDS = 0.02  # between two queries: at most 50 per second
FALLBACK_SECONDS = 2.0  # between two queries without a notification: some poolers of Postgres swallow them
BACK_OFF_SECONDS = 1.0


@dataclass(frozen=True)
class JobVersion:
    """The version and status of a job; the version grows with each change."""

    version: int
    status: Status


@dataclass(frozen=True, eq=False)
class _Waiter:
    job_id: str
    version: int | None
    future: asyncio.Future[JobVersion | None]


class Watcher:
    """One per process. Runs on the event loop; the database is queried in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: set[_Waiter] = set()
        self._wake_up = asyncio.Event()
        self._has_new_waiters = False
        self._query_at = 0.0  # whether there was a notification or not
        self._task: asyncio.Task[None] | None = None
        self.stopped = False

    def start(self) -> None:
        """Start the task; call it on the event loop."""
        self._task = asyncio.create_task(self._run(), name="watcher")

    def stop(self) -> None:
        """Wake all waiters with None; later waits return at once."""
        self.stopped = True
        self._wake_up.set()
        self._wake({})

    async def join(self) -> None:
        """Wait until the task has ended."""
        if self._task is not None:
            await self._task

    async def wait_for_change(self, job_id: str, version: int | None, seconds: float) -> JobVersion | None:
        """Wait until the job's version differs from `version`; None if it is deleted, after `seconds`, or on `stop`."""
        if self.stopped:
            return None
        waiter = _Waiter(job_id, version, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._has_new_waiters = True
        self._wake_up.set()
        try:
            async with asyncio.timeout(seconds):
                return await waiter.future
        except TimeoutError:
            return None
        finally:
            self._waiters.discard(waiter)

    async def wait_for_end(self, job_id: str, seconds: float) -> None:
        """Wait until the job has ended or is deleted, at most `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        seen = await self.wait_for_change(job_id, None, seconds)
        while seen is not None and not seen.status.terminal:
            seen = await self.wait_for_change(job_id, seen.version, deadline - asyncio.get_running_loop().time())

    async def _run(self) -> None:
        changes: ChangeListener | None = None
        while not self.stopped:
            if not self._waiters:
                self._wake_up.clear()
                await self._wake_up.wait()
                continue
            try:
                if changes is None:
                    changes = await asyncio.to_thread(self._database.listen)
                await self._query(changes)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception as error:  # any error: a dead watcher would block all waiters
                log.warning("cannot query changes of jobs, retrying: %r", error)
                await asyncio.sleep(BACK_OFF_SECONDS)
        if changes is not None:
            changes.close()

    async def _query(self, changes: ChangeListener) -> None:
        changed = await asyncio.to_thread(changes.wait, POLL_SECONDS)
        now = time.monotonic()
        if not (changed or self._has_new_waiters or now > self._query_at):
            return
        self._query_at = now + FALLBACK_SECONDS
        self._has_new_waiters = False
        asked = {waiter.job_id for waiter in self._waiters}
        try:
            self._wake(await asyncio.to_thread(self._read, asked), asked)
        except Exception:
            self._has_new_waiters = True  # no waiter was woken: query again, change or not
            raise

    def _read(self, job_ids: set[str]) -> dict[str, JobVersion]:
        with self._database.reading(once=True) as connection:
            return {job_id: JobVersion(*state) for job_id, state in jobs.versions(connection, job_ids).items()}

    def _wake(self, seen: dict[str, JobVersion], asked: set[str] | None = None) -> None:
        """Wake the waiters of jobs that have changed or are deleted; without `asked`, all waiters."""
        for waiter in self._waiters:
            now = seen.get(waiter.job_id)
            unchanged = now is not None and now.version == waiter.version
            if not (unchanged or waiter.future.done()) and (asked is None or waiter.job_id in asked):
                waiter.future.set_result(now)
