"""What an older version of the service has stored is read by this one, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from alembic import command
from sqlalchemy import text

from service.store import datasets
from service.store.engine import Database, _alembic, migrate
from service.store.tables import Utc

COLUMN = {"name": "size", "type": "number", "missing": 0, "distinct": 3, "min": 1.0, "max": 3.0}


def test_a_data_set_from_before_duplicates_were_counted_is_read_without(blank_database_url: str) -> None:
    database = Database(blank_database_url)
    row = {
        "id": "ds_1",
        "sha256": "ab",
        "options": "{}",
        "source_bytes": 9,
        "rows": 3,
        "path": "a",
        "columns": json.dumps([COLUMN]),
        "null_values": "[]",
        "warnings": "[]",
        "parquet_sha256": "cd",
        "parquet_bytes": 9,
        "created_at": datetime(2025, 1, 2, tzinfo=UTC),
    }
    values = ", ".join(f":{name}" for name in row)
    insert = text(f"INSERT INTO datasets ({', '.join(row)}) VALUES ({values})")
    with database.transaction() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.execute(insert.columns(created_at=Utc), row)

    migrate(blank_database_url)

    with database.reading() as connection:
        found = datasets.get(connection, "ds_1")
    database.close()
    assert (found.rows, found.duplicate_rows, found.profile.duplicate_rows) == (3, None, None)
    (column,) = found.columns
    assert (column.max, column.quantiles, column.histogram, column.given_away_by) == (3.0, None, None, [])
