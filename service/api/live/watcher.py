"""Wakes those who wait for jobs: one look at the database a change, however many they are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.store.jobs import jobs

if TYPE_CHECKING:
    from service.domain.status import Status
    from service.store.engine import Database
    from service.store.notifications import ChangeListener

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1  # how soon a quiet database is looked at for somebody new
PAUSE_SECONDS = 0.02  # between two looks: at most 50 a second
BACK_OFF_SECONDS = 1.0


@dataclass(frozen=True)
class JobVersion:
    """A job at one moment; `version` grows with each change."""

    version: int
    status: Status


@dataclass(frozen=True, eq=False)
class _Waiter:
    job_id: str
    version: int | None
    future: asyncio.Future[JobVersion | None]


class Watcher:
    """One a process. All of it runs on the event loop but the looking, which is done in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: set[_Waiter] = set()
        self._wanted = asyncio.Event()
        self._newcomers = False
        self._task: asyncio.Task[None] | None = None
        self.stopped = False

    def start(self) -> None:
        """Begin to look; call it on the event loop."""
        self._task = asyncio.create_task(self._run(), name="watcher")

    def stop(self) -> None:
        """Send everybody home at once, and let nobody wait from now on."""
        self.stopped = True
        self._wanted.set()
        self._wake({})

    async def join(self) -> None:
        """Wait for the last look's end."""
        if self._task is not None:
            await self._task

    async def wait_for_change(self, job_id: str, version: int | None, seconds: float) -> JobVersion | None:
        """The job as soon as it is not (any more) at `version`; None when it is gone, at `seconds`, or on `stop`."""
        if self.stopped:
            return None
        waiter = _Waiter(job_id, version, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._newcomers = True
        self._wanted.set()
        try:
            async with asyncio.timeout(seconds):
                return await waiter.future
        except TimeoutError:
            return None
        finally:
            self._waiters.discard(waiter)

    async def wait_for_end(self, job_id: str, seconds: float) -> None:
        """Return when the job has ended or is gone, and at `seconds` at the latest."""
        deadline = asyncio.get_running_loop().time() + seconds
        seen = await self.wait_for_change(job_id, None, seconds)
        while seen is not None and not seen.status.terminal:
            seen = await self.wait_for_change(job_id, seen.version, deadline - asyncio.get_running_loop().time())

    async def _run(self) -> None:
        changes: ChangeListener | None = None
        while not self.stopped:
            if not self._waiters:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            try:
                if changes is None:
                    changes = await asyncio.to_thread(self._database.listen)
                await self._look(changes)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception as error:  # whatever it is: a watcher that dies would leave everybody waiting
                log.warning("cannot look for changes of jobs, trying again: %r", error)
                await asyncio.sleep(BACK_OFF_SECONDS)
        if changes is not None:
            changes.close()

    async def _look(self, changes: ChangeListener) -> None:
        changed = await asyncio.to_thread(changes.wait, LOOK_SECONDS)
        if not (changed or self._newcomers):
            return
        self._newcomers = False
        asked = {waiter.job_id for waiter in self._waiters}
        try:
            self._wake(await asyncio.to_thread(self._read, asked), asked)
        except Exception:
            self._newcomers = True  # nobody was answered: look again, change or not
            raise

    def _read(self, job_ids: set[str]) -> dict[str, JobVersion]:
        with self._database.reading() as connection:
            return {job_id: JobVersion(*state) for job_id, state in jobs.versions(connection, job_ids).items()}

    def _wake(self, seen: dict[str, JobVersion], asked: set[str] | None = None) -> None:
        """Wake those whose job has changed or is gone; without `asked`, everybody."""
        for waiter in self._waiters:
            now = seen.get(waiter.job_id)
            unchanged = now is not None and now.version == waiter.version
            if not (unchanged or waiter.future.done()) and (asked is None or waiter.job_id in asked):
                waiter.future.set_result(now)
