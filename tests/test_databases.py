"""The databases that tests run on: migrated, empty, of their own, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from service.errors import SchemaMismatch
from service.store import migrations
from service.store.engine import Database
from tests.databases import postgres_database

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
