"""What is sampled of the rows that a version was asked to predict."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from service.api.live import sampler
from service.api.live.sampler import MAX_REQUEST_ROWS, MAX_ROW_CHARACTERS, MAX_ROW_VALUES, Sampler
from service.api.quota import StorageQuota
from service.domain.access import Actor
from service.store import usage
from service.store.engine import Database
from service.store.models import aliases, models, samples
from service.store.models.aliases import ServedVersion
from tests.api.job_factory import JobFactory

SLOTS = 5_000


@pytest.fixture
def served(database: Database, job_factory: JobFactory) -> ServedVersion:
    return first_version(database, job_factory.published().model)


def first_version(database: Database, name: str) -> ServedVersion:
    with database.reading("default") as connection:
        return aliases.served(connection, name, version=1)


def stored(database: Database, served: ServedVersion) -> list[dict[str, Any]]:
    with database.reading("default") as connection:
        return samples.read(connection, served.model_id, 1, SLOTS).rows


def sampled(
    database: Database, served: ServedVersion, *requests: list[dict[str, Any]], size: int = SLOTS, limit: int = 0
) -> list[dict[str, Any]]:
    made = Sampler(database, StorageQuota(limit), size)
    for rows in requests:
        made.add("default", served, rows)
    asyncio.run(made.flush())
    return stored(database, served)


def test_a_large_request_gives_a_hundred_of_its_rows(database: Database, served: ServedVersion) -> None:
    rows = sampled(database, served, [{"x": place} for place in range(3_000)])

    assert MAX_REQUEST_ROWS - 10 <= len(rows) <= MAX_REQUEST_ROWS  # some may meet in a slot
    assert max(row["x"] for row in rows) > 2_000


def test_the_sample_never_has_more_rows_than_slots(database: Database, served: ServedVersion) -> None:
    rows = sampled(database, served, *([{"x": place}] for place in range(500)), size=20)

    assert len(rows) == 20
    assert min(row["x"] for row in rows) > 200  # a row survives 300 others with a probability of 2e-7


def test_rows_that_are_too_large_are_left_out(database: Database, served: ServedVersion) -> None:
    long = {"x": "a" * (MAX_ROW_CHARACTERS + 1)}
    wide = {f"x{place}": 1 for place in range(MAX_ROW_VALUES + 1)}

    named = {f"{place:03}" * 10: 1 for place in range(MAX_ROW_VALUES)}

    assert sampled(database, served, [long, wide, named, {"x": 1}]) == [{"x": 1}]


def test_rows_beyond_the_storage_quota_are_dropped(database: Database, served: ServedVersion) -> None:
    row = {"x": "a" * 1_000}
    with database.reading("default") as connection:
        used = usage.read(connection).stored.total

    assert sampled(database, served, [row], limit=used + 500) == []
    assert sampled(database, served, [row], limit=used + 2_000) == [row]
    assert len(sampled(database, served, [row], limit=used + 2_000)) == 1


def test_the_versions_that_wait_are_bounded(
    database: Database, job_factory: JobFactory, served: ServedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "MAX_VERSIONS", 1)
    other = first_version(database, job_factory.published(name="other").model)
    made = Sampler(database, StorageQuota(0), SLOTS)

    for version in (served, other, served):
        made.add("default", version, [{"x": version.name}])
    asyncio.run(made.flush())

    assert {row["x"] for row in stored(database, served)} == {served.name}
    assert stored(database, other) == []


def test_without_slots_nothing_waits(database: Database, served: ServedVersion) -> None:
    assert sampled(database, served, [{"x": 1}], size=0) == []


def test_rows_of_a_deleted_model_are_dropped(database: Database, served: ServedVersion) -> None:
    made = Sampler(database, StorageQuota(0), SLOTS)
    made.add("default", replace(served, model_id="mdl_gone"), [{"x": 1}])
    made.add("default", served, [{"x": 2}])

    asyncio.run(made.flush())

    assert stored(database, served) == [{"x": 2}]


def test_rows_of_a_deleted_model_are_not_those_of_the_next_one_of_its_name(
    database: Database, job_factory: JobFactory, served: ServedVersion
) -> None:
    made = Sampler(database, StorageQuota(0), SLOTS)
    made.add("default", served, [{"x": 1}])
    with database.transaction("default") as connection:
        aliases.remove(connection, served.model_id, "champion", Actor(key=None, name=None))
        models.remove(connection, served.name)
    next_one = first_version(database, job_factory.published(name=served.name).model)
    made.add("default", next_one, [{"x": "text"}])

    asyncio.run(made.flush())

    assert stored(database, next_one) == [{"x": "text"}]


def test_a_flush_waits_for_the_rows_that_are_being_written(
    database: Database, served: ServedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, store = threading.Event(), threading.Event(), samples.store

    def slow(*arguments: Any) -> None:
        begun.set()
        assert go_on.wait(10)
        store(*arguments)

    monkeypatch.setattr(samples, "store", slow)
    made = Sampler(database, StorageQuota(0), SLOTS)
    made.add("default", served, [{"x": 1}])

    async def flush_twice() -> list[dict[str, Any]]:
        first = asyncio.create_task(made.flush())
        await asyncio.to_thread(begun.wait, 10)
        second = asyncio.create_task(made.flush())
        await asyncio.sleep(0.05)
        go_on.set()
        await second
        found = stored(database, served)
        await first
        return found

    assert asyncio.run(flush_twice()) == [{"x": 1}]
