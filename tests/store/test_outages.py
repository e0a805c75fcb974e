"""Postgres read-only, silent or too slow: requests fail in bounded time, and the service recovers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import exc, select, text, update

from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.errors import StorageError, Unavailable
from service.store import datasets, engine, postgres_connection
from service.store.engine import Database, allow_long_statements, is_writable
from service.store.schema import jobs
from tests.databases import read_only, throw_out
from tests.proxy import Proxy, proxied
from tests.store.records import dataset, submit

pytestmark = pytest.mark.parametrize("backend", ["postgres"], indirect=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten timeouts tenfold to speed up the tests."""
    monkeypatch.setattr(postgres_connection.GuardedConnection, "answer_seconds", 0.3)
    for module in (postgres_connection, engine):
        monkeypatch.setattr(module, "PROMPT_SECONDS", 0.3)
    monkeypatch.setattr(engine, "MARGIN_SECONDS", 0.2)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with proxied(database_url) as proxy:
        yield proxy


@pytest.fixture
def tested_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooled connection is tested before each use, not only after a second of rest: no request meets a broken one."""
    monkeypatch.setattr(postgres_connection, "IDLE_SECONDS", 0.0)


@pytest.mark.usefixtures("tested_connections")
def test_a_read_only_database_refuses_writes_and_serves_reads(
    database: Database, database_url: str, postgres: str
) -> None:
    submit(database)

    with read_only(postgres, database_url):
        with pytest.raises(Unavailable, match="read-only"):
            submit(database)
        with database.reading() as connection:
            assert connection.scalar(text("SELECT count(*) FROM jobs")) == 1
            assert not is_writable(connection)

    submit(database)
    with database.reading() as connection:
        assert is_writable(connection)


def test_a_connection_that_breaks_within_a_second_of_its_use_fails_one_request(
    database: Database, database_url: str, postgres: str
) -> None:
    submit(database)
    with psycopg.connect(postgres, autocommit=True) as connection:
        throw_out(connection, urlsplit(database_url).path[1:])

    with pytest.raises(Unavailable):
        submit(database)
    submit(database)


def test_a_connection_that_breaks_while_it_rests_fails_none(
    database: Database, database_url: str, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(database)
    with psycopg.connect(postgres, autocommit=True) as connection:
        throw_out(connection, urlsplit(database_url).path[1:])
    monkeypatch.setattr(postgres_connection, "IDLE_SECONDS", 0.1)
    time.sleep(0.2)

    submit(database)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("25006", Unavailable),
        ("25P03", Unavailable),
        ("40001", Unavailable),
        ("40P01", Unavailable),
        ("53000", Unavailable),
        ("53100", StorageError),
        ("53300", Unavailable),
        ("55P03", Unavailable),
        ("57014", Unavailable),
        ("57P01", Unavailable),
        ("57P03", Unavailable),
        ("58030", Unavailable),
        ("08006", Unavailable),
        ("22012", exc.DBAPIError),
    ],
)
def test_postgres_errors_are_translated(database: Database, state: str, expected: type[Exception]) -> None:
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")

    with pytest.raises(expected), database.transaction() as connection:
        connection.execute(raising)


@pytest.mark.e2e
@pytest.mark.usefixtures("impatient")
def test_a_silent_server_is_unavailable_in_bounded_time_until_it_answers(proxy: Proxy) -> None:
    database = Database(f"{proxy.url}?connect_timeout=2", statement_seconds=0.3)
    submit(database)
    told: list[str] = []

    def ask() -> None:
        with pytest.raises(Unavailable):
            submit(database)
        told.append("unavailable")

    proxy.silent.set()
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(30)

    assert told == ["unavailable"]
    proxy.silent.clear()
    submit(database)
    database.close()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_falls_silent_in_a_transaction_is_unavailable(proxy: Proxy) -> None:
    database = Database(proxy.url, statement_seconds=0.3)
    told: list[str] = []

    def ask() -> None:
        try:
            with database.transaction() as connection:
                connection.execute(text("SELECT 1"))
                proxy.silent.set()
                connection.execute(text("SELECT 2"))
        except Unavailable:
            told.append("unavailable")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(10)

    assert told == ["unavailable"]
    database.close()


@pytest.mark.usefixtures("impatient")
def test_heartbeats_have_a_shorter_timeout_than_statements(proxy: Proxy) -> None:
    database = Database(proxy.url, statement_seconds=600)
    told: list[str] = []

    def renew() -> None:
        try:
            with database.transaction(quiet=True) as connection:
                connection.execute(text("SELECT 1"))
                proxy.silent.set()
                connection.execute(text("SELECT 2"))
        except Unavailable:
            told.append("unavailable")

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    renewing.join(20)

    assert told == ["unavailable"]
    database.close()


@pytest.mark.usefixtures("impatient")
def test_a_listener_detects_a_silent_server_and_reconnects(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.notifications.HEARTBEAT_SECONDS", 0.2)
    database = Database(proxy.url)
    changes = database.listen()
    while changes.wait(0.1):
        pass  # what it cannot rule out as it begins
    proxy.silent.set()

    assert changes.wait(5.0)  # the connection broke: something may have happened
    proxy.silent.clear()
    deadline = time.monotonic() + 30
    while changes._connection is None and time.monotonic() < deadline:  # type: ignore[attr-defined]
        changes.wait(0.2)
    changes.poll()
    submit(database)

    assert changes.wait(5.0)
    changes.close()
    database.close()


def test_slow_statements_time_out_unless_long_statements_are_allowed(database_url: str) -> None:
    database = Database(database_url, statement_seconds=0.1)

    with pytest.raises(Unavailable), database.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(5)"))
    with database.transaction() as connection:
        allow_long_statements(connection)
        connection.execute(text("SELECT pg_sleep(0.3)"))
    with pytest.raises(Unavailable), database.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(5)"))  # the same connection: the leave was for one transaction

    database.close()


def test_the_deletion_of_a_data_set_with_many_jobs_has_no_short_timeout(database: Database, database_url: str) -> None:
    slow = "CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END' LANGUAGE plpgsql"
    ended = submit(database)
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset(), path="datasets/ds_1/data.parquet", options="{}")
        connection.execute(update(jobs).values(dataset_id="ds_1", status=Status.succeeded))
        connection.execute(text(slow))
        connection.execute(text("CREATE TRIGGER slow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION slow()"))

    impatient = Database(database_url, statement_seconds=0.1)
    with impatient.transaction(DEFAULT_TENANT) as connection:
        datasets.remove(connection, "ds_1")
    impatient.close()

    with database.reading() as connection:
        assert connection.scalar(select(jobs.c.dataset_id).where(jobs.c.id == ended.id)) is None


def test_every_connection_has_timeouts_that_the_url_may_override(proxy: Proxy) -> None:
    database = Database(f"{proxy.url}?keepalives_idle=77", statement_seconds=7)

    with database.reading() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "7s"
        pooled: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
        parameters = pooled.info.get_parameters()
    changes = database.listen()
    listening = changes._connection.info.get_parameters()  # type: ignore[attr-defined]
    changes.close()
    database.close()

    for found in (parameters, listening):
        assert (found["keepalives_idle"], found["keepalives_count"], found["tcp_user_timeout"]) == ("77", "4", "10000")
        assert found["connect_timeout"] == "5"
    assert urlsplit(proxy.url).port == int(parameters["port"])
