"""Schema compatibility between versions, and the backup of a SQLite file before a migration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text, update

from service.errors import SchemaMismatch, StorageError
from service.store import migrations, sqlite_backup, workers
from service.store.engine import Database, migrate, sqlite_module
from service.store.jobs import jobs
from service.store.schema import schema_compatibility
from tests.processes import until
from tests.store.records import submit

FUTURE = "9998"  # a revision that this version does not know


def migrated_by_a_newer_version(database: Database, usable_since: str) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(update(schema_compatibility).values(usable_since=usable_since))


def test_a_newer_expand_only_schema_is_usable_and_left_alone(database: Database) -> None:
    migrated_by_a_newer_version(database, migrations.head())

    migrate(database.url.render_as_string(hide_password=False))

    with database.reading() as connection:
        migrations.check(connection)
        assert migrations.revision_of(connection) == "9999"


def test_a_newer_contracted_schema_is_refused_with_the_remedy(database: Database) -> None:
    migrated_by_a_newer_version(database, FUTURE)

    with database.reading() as connection, pytest.raises(SchemaMismatch, match="install that version, or restore"):
        migrations.check(connection)
    with pytest.raises(SchemaMismatch, match="a newer version of bestepoch has migrated the database"):
        migrate(database.url.render_as_string(hide_password=False))


def test_usable_since_is_known_to_the_previous_release(database: Database) -> None:
    with database.reading() as connection:
        assert connection.scalar(select(schema_compatibility.c.usable_since)) == "0010"


def test_a_missing_column_is_a_schema_mismatch(database: Database) -> None:
    submit(database)
    with database.transaction() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME COLUMN eta_seconds TO eta"))

    with pytest.raises(SchemaMismatch, match="as if another version had migrated it"), database.reading() as connection:
        jobs.find(connection, limit=1)


@pytest.mark.e2e
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_worker_releases_its_jobs_when_the_schema_becomes_incompatible(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": database_url, "HOME": str(tmp_path), "TRAINERS": "1", "LEASE_SECONDS": "1.5"}
    environment = {**os.environ, **{f"BESTEPOCH_{name}": value for name, value in settings.items()}}
    start = [sys.executable, "-m", "service.cli", "worker", "--until-eof"]
    worker = subprocess.Popen(start, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: seen(database))
        migrated_by_a_newer_version(database, FUTURE)
        worker.wait(timeout=40)  # its standard input stays open: it ends by itself
    finally:
        worker.kill()
        _, said = worker.communicate()

    assert worker.returncode == 2
    assert f"bestepoch: {migrations.NEWER}" in said
    assert "Traceback" not in said
    assert not seen(database)


def seen(database: Database) -> bool:
    with database.reading() as connection:
        return bool(workers.find(connection))


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Path]:
    """A SQLite file at the second newest revision, with a row."""
    path = tmp_path / "old.db"
    database = Database(f"sqlite:///{path}")
    with database.transaction() as connection:
        config = migrations.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
        connection.execute(
            text("INSERT INTO workers SELECT 'wrk_1', 't', 'h', 1, 1, 'cpu', 0, 0, 0, 0, '2026', '2026'")
        )
    yield path
    database.close()


def rows(path: Path) -> tuple[str, int]:
    """The revision and the number of workers."""
    with closing(sqlite_module.connect(str(path))) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        (number,) = connection.execute("SELECT count(*) FROM workers").fetchone()
    return str(version), int(number)


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.*.backup"))


def test_a_sqlite_file_is_backed_up_before_a_migration(older: Path) -> None:
    migrate(f"sqlite:///{older}")
    migrate(f"sqlite:///{older}")  # nothing to do
    new = older.with_name("new.db")
    migrate(f"sqlite:///{new}")

    (copy,) = backups(older)
    assert (rows(copy), rows(older)) == (("0010", 1), (migrations.head(), 1))
    assert copy.name.startswith("old.db.0010.")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not backups(new)
    assert not [path for path in older.parent.iterdir() if "unfinished" in path.name]


def test_only_the_newest_backups_are_kept(older: Path) -> None:
    made = [sqlite_backup.back_up(older, number, sqlite_module.connect) for number in "98765"]

    assert backups(older) == sorted(made[-sqlite_backup.KEPT :])


def test_backups_with_other_names_are_kept(older: Path) -> None:
    theirs = older.with_name("old.db.0010.2020-the-move.backup")
    theirs.touch()

    for _ in range(sqlite_backup.KEPT + 1):
        sqlite_backup.back_up(older, "0010", sqlite_module.connect)

    assert theirs.exists()
    assert len(backups(older)) == sqlite_backup.KEPT + 1


def test_a_failed_backup_prevents_the_migration(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _revision: str, connect: object) -> Path:
        return sqlite_backup.back_up(older, "0010", lambda path: sqlite_module.connect(f"{path}/no"))

    monkeypatch.setattr("service.store.engine.back_up", full)
    with pytest.raises(StorageError, match="was not migrated: the backup failed"):
        migrate(f"sqlite:///{older}")

    assert rows(older) == ("0010", 1)
    assert [path.name for path in older.parent.iterdir() if "backup" in path.name or "unfinished" in path.name] == []
