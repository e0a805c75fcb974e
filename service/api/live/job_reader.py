"""Reads of single jobs for polling clients: a query for all that wait, and a cache of answers by the job's version."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool

from service.domain.status import Status
from service.errors import NotFound, ServiceError
from service.store.jobs import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from service.store.engine import Database

CACHE_BYTES = 32 * 1024**2


@dataclass(frozen=True)
class JobAnswer:
    """A job as clients get it."""

    status: Status
    content: bytes
    """JSON."""


class JobReader:
    """One per process, on the event loop. Jobs that are asked for while a thread reads form its next batch.

    A job's version grows with each change, so that an unchanged job is neither read as a whole nor serialized again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[tuple[str, str], list[asyncio.Future[JobAnswer]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._cache = _Cache()

    async def read(self, tenant: str, job_id: str) -> JobAnswer:
        """The job of this tenant; raises NotFound, and Unavailable while the database is."""
        future: asyncio.Future[JobAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((tenant, job_id), []).append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            try:
                answers = await run_in_threadpool(self._read, list(batch))
            except Exception as error:  # no thread could be started: fail the whole batch
                answers = dict.fromkeys(batch, error)
            for key, futures in batch.items():
                answer = answers[key]
                for future in futures:
                    if future.done():  # its client has disconnected
                        continue
                    if isinstance(answer, JobAnswer):
                        future.set_result(answer)
                    else:
                        future.set_exception(answer)
        self._task = None

    def _read(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], JobAnswer | Exception]:
        by_tenant = defaultdict[str, list[str]](list)
        for tenant, job_id in keys:
            by_tenant[tenant].append(job_id)
        answers: dict[tuple[str, str], JobAnswer | Exception] = {}
        for tenant, ids in by_tenant.items():
            try:
                found = self._of_tenant(tenant, ids)
            except Exception as error:  # raised in `read`
                found = dict.fromkeys(ids, error)
            answers |= {(tenant, job_id): answer for job_id, answer in found.items()}
        return answers

    def _of_tenant(self, tenant: str, ids: list[str]) -> Mapping[str, JobAnswer | Exception]:
        answers: dict[str, JobAnswer | Exception] = {}
        with self._database.reading(tenant) as connection:
            versions = jobs.versions(connection, ids)
            for job_id in ids:
                version, _ = versions.get(job_id, (None, None))
                if version is None:
                    answers[job_id] = NotFound(f"no job {job_id!r}")
                    continue
                known = self._cache.get((tenant, job_id), version)
                if known is None:
                    try:
                        job = jobs.get(connection, job_id)
                    except ServiceError as error:  # it was deleted just now
                        answers[job_id] = error
                        continue
                    known = JobAnswer(job.status, job.model_dump_json().encode())
                    if job.status is not Status.queued:  # its position changes without a new version
                        self._cache.put((tenant, job_id), version, known)
                answers[job_id] = known
        return answers


class _Cache:
    """Answers by tenant and job, the least recently used ones evicted first. Used by one thread at a time."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], tuple[int, JobAnswer]] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, str], version: int) -> JobAnswer | None:
        """The answer of this version of the job, if it is here."""
        found = self._answers.get(key)
        if found is None or found[0] != version:
            return None
        self._answers.move_to_end(key)
        return found[1]

    def put(self, key: tuple[str, str], version: int, answer: JobAnswer) -> None:
        """Store the answer, read at this version or later, in place of an older one."""
        old = self._answers.pop(key, None)
        self._bytes += len(answer.content) - (len(old[1].content) if old else 0)
        self._answers[key] = version, answer
        while self._bytes > CACHE_BYTES:
            _, (_, evicted) = self._answers.popitem(last=False)
            self._bytes -= len(evicted.content)
