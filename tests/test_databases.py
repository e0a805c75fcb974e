"""The databases that tests run on: migrated, empty, of their own, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.errors import SchemaMismatch
from service.store import migrations
from service.store.engine import Database
from tests.databases import DatabasePool, postgres_database

ROOT = Path(__file__).parents[1]


def test_a_database_is_migrated(database: Database) -> None:
    with database.reading() as connection:
        migrations.check(connection)


def test_a_blank_database_has_no_schema(blank_database_url: str) -> None:
    blank = Database(blank_database_url)
    with blank.reading() as connection, pytest.raises(SchemaMismatch):
        migrations.check(connection)
    blank.close()


def test_a_database_of_a_test_is_dropped_at_its_end(postgres: str) -> None:
    with postgres_database(postgres) as url:
        psycopg.connect(url).close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_a_database_is_used_again_as_it_was_unless_a_test_has_changed_its_tables(postgres_pool: DatabasePool) -> None:
    rows = "SELECT (SELECT version_num FROM alembic_version), (SELECT usable_since FROM schema_compatibility)"

    def use(statement: str) -> tuple[str, Any]:
        with postgres_pool.database() as url, psycopg.connect(url) as connection:
            before = connection.execute(rows).fetchone()
            connection.execute(statement)
        return url, before

    first, second = use("DELETE FROM schema_compatibility"), use("UPDATE alembic_version SET version_num = '9'")
    third, fourth = use("ALTER TABLE jobs ADD extra text"), use("SELECT 1")

    assert first == second == third
    assert fourth[0] != first[0]
    assert fourth[1] == first[1]


@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="the server of TEST_DATABASE_URL is not ours")
@pytest.mark.usefixtures("postgres")
def test_the_server_ends_with_the_process_that_started_it_even_when_that_is_killed() -> None:
    code = (
        "import time; from tests.databases import postgres_server\n"
        "with postgres_server() as url: print(url, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip().partition("host=")[2])
    assert folder.is_dir()

    process.send_signal(signal.SIGKILL)
    process.communicate()

    deadline = time.monotonic() + 20
    while folder.exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.02)
