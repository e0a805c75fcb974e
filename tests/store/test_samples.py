"""Sampled rows of versions, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from service.errors import NotFound
from service.store.engine import Database
from service.store.models import samples, versions
from tests.api.job_factory import JobFactory

NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)


def test_rows_are_stored_by_slot_and_overwritten(database: Database, job_factory: JobFactory) -> None:
    name = job_factory.published().model
    rows = {0: {"x": 1.0, "where": "Ö"}, 3: {"x": None}}
    with database.transaction("default") as connection:
        samples.store(connection, name, 1, rows, NOW)
        samples.store(connection, name, 1, {3: {"x": True}}, NOW + timedelta(hours=1))

    with database.reading("default") as connection:
        found, first = samples.read(connection, name, 1, 100), samples.read(connection, name, 1, 3)

    assert found == samples.Sample([{"x": 1.0, "where": "Ö"}, {"x": True}], NOW)
    assert first.rows == [{"x": 1.0, "where": "Ö"}]


def test_a_deleted_version_has_no_sample(database: Database, job_factory: JobFactory) -> None:
    job = job_factory.published().members[0].job
    name = job_factory.published(job).model
    with database.transaction("default") as connection:
        samples.store(connection, name, 2, {0: {"x": 1}}, NOW)
        versions.remove(connection, name, 2)

    with database.reading("default") as connection:
        assert samples.read(connection, name, 2, 100) == samples.Sample([], None)
    with pytest.raises(IntegrityError), database.transaction("default") as connection:
        samples.store(connection, name, 2, {0: {"x": 1}}, NOW)


def test_a_sample_belongs_to_its_tenant(database: Database, job_factory: JobFactory) -> None:
    name = job_factory.published().model

    with pytest.raises(NotFound), database.reading("other") as connection:
        samples.read(connection, name, 1, 100)
    with pytest.raises(NotFound), database.transaction("other") as connection:
        samples.store(connection, name, 1, {0: {"x": 1}}, NOW)
