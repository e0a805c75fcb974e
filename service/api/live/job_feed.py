"""Updates of jobs for streams: one read and one serialization per change, shared by all followers of a job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.store import epochs
from service.store.jobs import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.domain.job import Job
    from service.store.engine import TenantDatabase


@dataclass(frozen=True)
class JobUpdate:
    """A job and its new epochs (number, JSON)."""

    job: Job
    job_text: str
    epochs: Sequence[tuple[int, str]]


class JobFeed:
    """One per process, on the event loop: a thousand followers of one job cost one database read per change."""

    def __init__(self) -> None:
        self._reads: dict[tuple[str, int, int | None], asyncio.Task[JobUpdate]] = {}

    async def since(
        self, database: TenantDatabase, job_id: str, epoch: int, version: int | None, limit: int
    ) -> JobUpdate:
        """The job, at `version` or newer, and its epochs after `epoch`; raises NotFound, Unavailable."""
        key = job_id, epoch, version
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(asyncio.to_thread(_read, database, job_id, epoch, limit))
            read.add_done_callback(lambda _: self._reads.pop(key))
        return await asyncio.shield(read)  # one client's disconnect must not cancel the shared read


def _read(database: TenantDatabase, job_id: str, epoch: int, limit: int) -> JobUpdate:
    with database.reading() as connection:
        # Read the job before its epochs: if it has ended, all epochs are there.
        job = jobs.get(connection, job_id)
        rows = epochs.read(connection, job_id, after_epoch=epoch, limit=limit)
    return JobUpdate(job, job.model_dump_json(), [(row.epoch, row.model_dump_json()) for row in rows])
