"""Polls: each answer is the job as it is now, whatever is cached; one query for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from service.api.live import job_reader
from service.api.live.job_reader import JobReader
from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.errors import NotFound, Unavailable
from service.spec.job import JobChange
from service.store.engine import Database
from service.store.jobs import actions, attempt, jobs
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch


class CountingDatabase(Database):
    """Counts what is read."""

    readings = 0
    down = False

    def reading(self, tenant: str | None = None) -> Any:
        self.readings += 1
        if self.down:
            raise Unavailable
        return super().reading(tenant)


def read(reader: JobReader, job_id: str, tenant: str = DEFAULT_TENANT) -> bytes:
    async def once() -> bytes:
        return (await reader.read(tenant, job_id)).content

    return asyncio.run(once())


@both_databases
def test_an_answer_is_the_job_as_it_is_after_each_change(database: Database, job_factory: JobFactory) -> None:
    job_id, reader = job_factory.queued().id, JobReader(database)
    claims: list[Claim] = []

    def claim() -> None:
        with database.transaction() as connection:
            claims[:] = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)

    def act(action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        with database.transaction(DEFAULT_TENANT) as connection:
            action(connection, *arguments, **options)

    changes: list[Callable[[], Any]] = [
        lambda: act(actions.change, job_id, JobChange(name="renamed", labels={"bird": "tit"})),
        lambda: job_factory.queued(priority=5),  # ahead of it
        lambda: act(actions.change, job_id, JobChange(priority=9)),
        claim,
        lambda: job_factory.record(claims[0], epoch(1)),
        lambda: job_factory.publish(claims[0], 1),
        lambda: act(actions.pause, job_id),
        lambda: act(attempt.release, job_id, 1),
        lambda: act(actions.resume, job_id, max_queued=10),
        claim,
        lambda: job_factory.record(claims[0], epoch(2), epoch(3)),
        lambda: job_factory.publish(claims[0], 3),
        lambda: job_factory.finish(claims[0]),
    ]
    seen = set()
    for change in [lambda: None, *changes]:
        change()
        with database.reading(DEFAULT_TENANT) as connection:
            now = jobs.get(connection, job_id).model_dump_json().encode()
        assert read(reader, job_id) == read(reader, job_id) == now
        seen.add(now)
    assert len(seen) == len(changes) + 1


def test_jobs_of_others_and_deleted_ones_are_not_found(database: Database, job_factory: JobFactory) -> None:
    job_id, reader = job_factory.trained().job_id, JobReader(database)
    read(reader, job_id)

    with pytest.raises(NotFound):
        read(reader, job_id, "birds")
    with database.transaction(DEFAULT_TENANT) as connection:
        jobs.remove(connection, job_id)
    with pytest.raises(NotFound):
        read(reader, job_id)


def test_clients_that_wait_share_a_query(database_url: str, job_factory: JobFactory) -> None:
    ids = [job_factory.trained().job_id for _ in range(5)]
    counting = CountingDatabase(database_url)
    reader = JobReader(counting)

    async def all_at_once() -> list[Status]:
        answers = await asyncio.gather(*(reader.read(DEFAULT_TENANT, job_id) for job_id in ids * 20))
        return [answer.status for answer in answers]

    assert asyncio.run(all_at_once()) == [Status.succeeded] * 100
    assert counting.readings == 1
    counting.close()


def test_an_outage_fails_the_clients_that_wait_and_no_later_ones(database_url: str, job_factory: JobFactory) -> None:
    job_id, counting = job_factory.trained().job_id, CountingDatabase(database_url)
    reader = JobReader(counting)
    counting.down = True
    with pytest.raises(Unavailable):
        read(reader, job_id)
    counting.down = False

    assert job_id.encode() in read(reader, job_id)
    counting.close()


def test_the_cache_is_limited_in_bytes(
    database: Database, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_reader, "CACHE_BYTES", 10_000)
    reader = JobReader(database)
    for _ in range(10):
        read(reader, job_factory.trained().job_id)

    sizes = [len(answer.content) for _, answer in reader._cache._answers.values()]
    assert sum(sizes) == reader._cache._bytes <= 10_000
    assert 0 < len(sizes) < 10
