"""Rows stored by older versions of the service are readable after migration, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from alembic import command
from sqlalchemy import text

from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.store import datasets, usage
from service.store.engine import Database, migrate
from service.store.jobs import jobs
from service.store.migrations import alembic_config
from service.store.schema import Utc
from tests.specs import synthetic
from tests.store.records import claim, job

SINCE_0020 = ("trial", "epoch_limit", "worker_labels", "suits_preemptible", "ranks")
COLUMN = {"name": "size", "type": "number", "missing": 0, "distinct": 3, "min": 1.0, "max": 3.0}


def database_at(revision: str, url: str) -> Database:
    """A database of this revision."""
    database = Database(url)
    with database.transaction() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return database


def stored_at(revision: str, url: str, columns: list[dict[str, Any]]) -> Database:
    """A database in which a service of this revision has stored a data set."""
    database = database_at(revision, url)
    row = {
        "id": "ds_1",
        "sha256": "ab",
        "options": "{}",
        "source_bytes": 9,
        "rows": 3,
        "path": "a",
        "columns": json.dumps(columns),
        "null_values": "[]",
        "warnings": "[]",
        "parquet_sha256": "cd",
        "parquet_bytes": 9,
        "created_at": datetime(2025, 1, 2, tzinfo=UTC),
    }
    values = ", ".join(f":{name}" for name in row)
    insert = text(f"INSERT INTO datasets ({', '.join(row)}) VALUES ({values})")
    with database.transaction() as connection:
        connection.execute(insert.columns(created_at=Utc), row)
    return database


def test_data_sets_from_before_0004_have_no_duplicate_count(blank_database_url: str) -> None:
    database = stored_at("0003", blank_database_url, [COLUMN])

    migrate(blank_database_url)

    with database.reading() as connection:
        found = datasets.get(connection, "ds_1")
    database.close()
    assert (found.rows, found.duplicate_rows, found.profile.duplicate_rows) == (3, None, None)
    (column,) = found.columns
    assert (column.max, column.quantiles, column.histogram, column.given_away_by) == (3.0, None, None, [])


def test_migration_0010_counts_columns(blank_database_url: str) -> None:
    database = stored_at("0009", blank_database_url, [{**COLUMN, "name": name} for name in "abc"])

    migrate(blank_database_url)

    with database.reading() as connection:
        (found,) = datasets.summaries(connection, limit=1)
    database.close()
    assert (found.id, found.column_count) == ("ds_1", 3)


def test_migration_0014_measures_profiles(blank_database_url: str) -> None:
    database = stored_at("0010", blank_database_url, [COLUMN])

    migrate(blank_database_url)

    with database.reading("default") as connection:
        stored = usage.read(connection).stored
    database.close()
    assert (stored.datasets, stored.profiles) == (9, len(json.dumps([COLUMN])))


def test_jobs_from_before_0021_have_no_epoch_limit_and_are_claimed(blank_database_url: str) -> None:
    database = database_at("0020", blank_database_url)
    with database.transaction(DEFAULT_TENANT) as connection:
        row = jobs.new_row(synthetic(), DEFAULT_TENANT)
        old = {name: value for name, value in row.items() if name not in SINCE_0020}
        jobs.add(connection, [old])

    migrate(blank_database_url)

    found = job(database, row["id"])
    (taken,) = claim(database)
    database.close()
    assert (found.status, found.trial, found.epoch_limit) == (Status.queued, None, None)
    assert (taken.job_id, taken.epoch_limit) == (row["id"], None)
