"""What is sampled of the rows that a version was asked to predict."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.api.live import sampler
from service.api.live.sampler import MAX_REQUEST_ROWS, MAX_ROW_CHARACTERS, MAX_ROW_VALUES, Sampler
from service.store.engine import Database
from service.store.models import samples
from tests.api.job_factory import JobFactory

SLOTS = 5_000


@pytest.fixture
def name(job_factory: JobFactory) -> str:
    return job_factory.published().model


def sampled(database: Database, name: str, *requests: list[dict[str, Any]], size: int = SLOTS) -> list[dict[str, Any]]:
    made = Sampler(database, size)
    for rows in requests:
        made.add("default", name, 1, rows)
    asyncio.run(made.flush())
    with database.reading("default") as connection:
        return samples.read(connection, name, 1, SLOTS).rows


def test_a_large_request_gives_a_hundred_of_its_rows(database: Database, name: str) -> None:
    rows = sampled(database, name, [{"x": place} for place in range(3_000)])

    assert MAX_REQUEST_ROWS - 10 <= len(rows) <= MAX_REQUEST_ROWS  # some may meet in a slot
    assert max(row["x"] for row in rows) > 2_000


def test_the_sample_never_has_more_rows_than_slots(database: Database, name: str) -> None:
    rows = sampled(database, name, *([{"x": place}] for place in range(500)), size=20)

    assert len(rows) == 20
    assert min(row["x"] for row in rows) > 200  # a row survives 300 others with a probability of 2e-7


def test_rows_that_are_too_large_are_left_out(database: Database, name: str) -> None:
    long = {"x": "a" * (MAX_ROW_CHARACTERS + 1)}
    wide = {f"x{place}": 1 for place in range(MAX_ROW_VALUES + 1)}

    assert sampled(database, name, [long, wide, {"x": 1}]) == [{"x": 1}]


def test_the_versions_that_wait_are_bounded(
    database: Database, job_factory: JobFactory, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "MAX_VERSIONS", 1)
    other = job_factory.published(name="other").model
    made = Sampler(database, SLOTS)

    for model in (name, other, name):
        made.add("default", model, 1, [{"x": model}])
    asyncio.run(made.flush())

    with database.reading("default") as connection:
        assert {row["x"] for row in samples.read(connection, name, 1, SLOTS).rows} == {name}
        assert samples.read(connection, other, 1, SLOTS).rows == []


def test_without_slots_nothing_waits(database: Database, name: str) -> None:
    assert sampled(database, name, [{"x": 1}], size=0) == []


def test_rows_of_a_deleted_model_are_dropped(database: Database, name: str) -> None:
    made = Sampler(database, SLOTS)
    made.add("default", "gone", 1, [{"x": 1}])
    made.add("default", name, 1, [{"x": 2}])

    asyncio.run(made.flush())

    with database.reading("default") as connection:
        assert samples.read(connection, name, 1, SLOTS).rows == [{"x": 2}]
