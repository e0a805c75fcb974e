"""Connections, transactions, the change signal and migrations, on both databases."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from service.errors import Misconfigured, SchemaMismatch, Unavailable
from service.store import migrations
from service.store.engine import Database, migrate
from service.store.schema import metadata


def test_the_migrations_build_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.reading() as connection:
        migrations.check(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_repeated_and_concurrent_migrations_are_safe(blank_database_url: str) -> None:
    threads = [threading.Thread(target=migrate, args=(blank_database_url,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    database = Database(blank_database_url)
    with database.reading() as connection:
        migrations.check(connection)
    database.close()


def test_a_blank_database_is_not_migrated(blank_database_url: str) -> None:
    database = Database(blank_database_url)
    with database.reading() as connection, pytest.raises(SchemaMismatch):
        migrations.check(connection)
    database.close()


def test_an_error_rolls_the_transaction_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute(text("DELETE FROM alembic_version")).rowcount / 0

    with database.reading() as connection:
        migrations.check(connection)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_sqlite_keeps_what_is_committed(database: Database) -> None:
    with database.reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_database_that_stays_locked_is_unavailable(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.engine.LOCK_SECONDS", 0.1)
    impatient = Database(f"sqlite:///{tmp_path / 'test.db'}")

    with database.transaction(), pytest.raises(Unavailable), impatient.transaction():
        pass

    impatient.close()


def test_an_unreachable_postgres_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")

    with pytest.raises(Unavailable), database.reading():
        pass


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_other_database_urls_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="DATABASE_URL must be"):
        Database(url)
