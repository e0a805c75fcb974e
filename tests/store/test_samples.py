"""Sampled rows of versions, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from service.store import usage
from service.store.engine import Database
from service.store.models import aliases, samples, versions
from tests.api.job_factory import JobFactory

NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)


def model_id(database: Database) -> str:
    with database.reading("default") as connection:
        return aliases.require_model(connection, "our-model")


def test_rows_are_stored_by_slot_and_overwritten(database: Database, job_factory: JobFactory) -> None:
    job_factory.published()
    of = model_id(database)
    rows = {0: {"x": 1.0, "where": "Ö"}, 3: {"x": None}}
    with database.transaction("default") as connection:
        samples.store(connection, of, 1, rows, NOW)
        samples.store(connection, of, 1, {3: {"x": True}}, NOW + timedelta(hours=1))

    with database.reading("default") as connection:
        found, first = samples.read(connection, of, 1, 100), samples.read(connection, of, 1, 3)

    assert found == samples.Sample([{"x": 1.0, "where": "Ö"}, {"x": True}], NOW)
    assert first.rows == [{"x": 1.0, "where": "Ö"}]


def test_a_deleted_version_has_no_sample(database: Database, job_factory: JobFactory) -> None:
    job = job_factory.published().members[0].job
    model = job_factory.published(job).model
    of = model_id(database)
    with database.transaction("default") as connection:
        samples.store(connection, of, 2, {0: {"x": 1}}, NOW)
        versions.remove(connection, model, 2)

    with database.reading("default") as connection:
        assert samples.read(connection, of, 2, 100) == samples.Sample([], None)
    with pytest.raises(IntegrityError), database.transaction("default") as connection:
        samples.store(connection, of, 2, {0: {"x": 1}}, NOW)


def test_a_sample_belongs_to_its_tenant(database: Database, job_factory: JobFactory) -> None:
    job_factory.published()
    with database.transaction("default") as connection:
        samples.store(connection, model_id(database), 1, {0: {"x": 1}}, NOW)

    with database.reading("other") as connection:
        assert samples.read(connection, model_id(database), 1, 100).rows == []
        assert usage.read(connection).stored.samples == 0


def test_a_sample_counts_as_stored(database: Database, job_factory: JobFactory) -> None:
    job_factory.published()
    with database.transaction("default") as connection:
        samples.store(connection, model_id(database), 1, {0: {"x": "a" * 1_000}, 1: {"y" * 500: 1}}, NOW)

    with database.reading("default") as connection:
        stored = usage.read(connection).stored

    assert 100 < stored.samples < 1_700  # long texts may be compressed
