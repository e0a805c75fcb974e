"""What has become of a job since its followers last heard: read and written out once for all who are told the same."""

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
    """A job, and epochs of it by their number; each also as JSON."""

    job: Job
    job_text: str
    epochs: Sequence[tuple[int, str]]


class JobFeed:
    """One a process, on the event loop. A thousand who follow one job cost one look at the database a change."""

    def __init__(self) -> None:
        self._looking: dict[tuple[str, int, int | None], asyncio.Task[JobUpdate]] = {}

    async def since(
        self, database: TenantDatabase, job_id: str, epoch: int, version: int | None, limit: int
    ) -> JobUpdate:
        """The job, at `version` or newer, and its epochs after `epoch`; raises NotFound, Unavailable."""
        key = job_id, epoch, version
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.create_task(asyncio.to_thread(_read, database, job_id, epoch, limit))
            looking.add_done_callback(lambda _: self._looking.pop(key))
        return await asyncio.shield(looking)  # who leaves does not take it from the others


def _read(database: TenantDatabase, job_id: str, epoch: int, limit: int) -> JobUpdate:
    with database.reading() as connection:
        # The job before its rows: once it has ended, all of them are there.
        job = jobs.get(connection, job_id)
        rows = epochs.read(connection, job_id, after_epoch=epoch, limit=limit)
    return JobUpdate(job, job.model_dump_json(), [(row.epoch, row.model_dump_json()) for row in rows])
