"""Change notifications: listeners hear of every commit at once, and after an outage too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from typing import Any

import pytest
from sqlalchemy import text

from service.store.engine import Database
from service.store.jobs import actions, leases
from service.store.notifications import QUEUE_CHANNEL, ChangeListener
from service.store.postgres_connection import GuardedConnection
from tests.databases import cut_off
from tests.store.records import claim, crash, epoch, record, resume, submit

postgres_only = pytest.mark.parametrize("backend", ["postgres"], indirect=True)


@pytest.fixture
def changes(database: Database) -> Iterator[ChangeListener]:
    watching = database.listen()
    yield watching
    watching.close()


def test_a_commit_wakes_a_listener_within_100_ms(database: Database, changes: ChangeListener) -> None:
    woken: list[float] = []
    waiting = threading.Thread(target=lambda: woken.append(time.monotonic() if changes.wait(5.0) else 0.0))
    waiting.start()
    time.sleep(0.2)

    submit(database)
    committed = time.monotonic()
    waiting.join()

    assert abs(woken[0] - committed) < 0.1


def test_a_commit_before_the_wait_is_not_missed(database: Database, changes: ChangeListener) -> None:
    submit(database)

    assert changes.wait(1.0)
    assert not changes.poll()


def test_without_a_commit_the_wait_times_out(changes: ChangeListener) -> None:
    assert not changes.poll()
    assert not changes.wait(0.1)


def test_failed_and_read_only_transactions_do_not_wake_listeners(database: Database, changes: ChangeListener) -> None:
    claim(database)
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute(text("DELETE FROM alembic_version")).rowcount / 0

    assert not changes.wait(0.1)


@postgres_only
def test_heartbeats_do_not_wake_listeners(database: Database, changes: ChangeListener) -> None:
    job = submit(database)
    claim(database)
    assert changes.wait(1.0)
    time.sleep(0.1)
    changes.poll()

    with database.transaction(quiet=True) as connection:
        leases.renew(connection, "wrk_1", [job.id], 60.0)

    assert not changes.wait(0.1)


def test_a_readable_pipe_ends_the_wait(database: Database, changes: ChangeListener) -> None:
    ours, theirs = Pipe()
    threading.Timer(0.1, lambda: theirs.send("ready")).start()

    began = time.monotonic()
    happened = changes.wait(60.0, [ours])

    assert not happened
    assert 0.05 < time.monotonic() - began < 30.0
    assert ours.recv() == "ready"


@pytest.mark.slow
def test_a_burst_of_commits_is_debounced(database: Database, changes: ChangeListener) -> None:
    stop = time.monotonic() + 1.0
    storm = threading.Thread(target=lambda: [submit(database) for _ in iter(lambda: time.monotonic() < stop, False)])
    storm.start()
    wakes = 0

    while time.monotonic() < stop:
        wakes += changes.wait(0.1)
    storm.join()

    assert 2 < wakes <= 210  # SQLite looks every 5 ms, Postgres tells at most every 20 ms


@postgres_only
def test_workers_hear_of_queued_jobs_alone(database: Database) -> None:
    queue = database.listen(QUEUE_CHANNEL)
    job = submit(database)
    assert queue.wait(1.0)

    (claimed,) = claim(database)
    record(database, claimed, epoch(1))
    assert not queue.wait(0.1)

    crash(database, job.id, claimed.attempt)
    assert queue.wait(1.0)
    with database.transaction("default") as connection:
        actions.pause(connection, job.id)
    assert not queue.wait(0.1)
    with database.transaction("default") as connection:
        resume(connection, job.id)
    assert queue.wait(1.0)
    queue.close()


@postgres_only
def test_a_resting_listener_hears_nothing_and_reports_a_change_afterwards(database: Database) -> None:
    changes = database.listen()
    changes.rest()
    listening = text(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    with database.reading() as connection:
        assert connection.scalar(listening) == 0

    assert changes.wait(1.0)
    assert not changes.wait(0.1)
    submit(database)
    assert changes.wait(1.0)
    changes.close()


@postgres_only
def test_a_broken_connection_reports_a_change_and_reconnects(
    database: Database, database_url: str, postgres: str, changes: ChangeListener
) -> None:
    with cut_off(postgres, database_url):
        assert changes.wait(1.0)
        assert not changes.poll()  # the next try is not due yet
    began = time.monotonic()
    while changes.wait(1.0):  # back, or tried in vain once more
        assert time.monotonic() - began < 10

    submit(database)

    assert changes.wait(1.0)


@postgres_only
def test_reconnects_back_off_exponentially(
    database: Database, database_url: str, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    real = GuardedConnection.connect

    def counted(*arguments: Any, **options: Any) -> Any:
        tries.append(time.monotonic())
        return real(*arguments, **options)

    with cut_off(postgres, database_url):
        monkeypatch.setattr(GuardedConnection, "connect", counted)
        watching = database.listen()
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            watching.wait(deadline - time.monotonic())
        watching.close()

    assert 3 <= len(tries) <= 7


@postgres_only
def test_waiting_sends_no_statement(database: Database, database_url: str, changes: ChangeListener) -> None:
    asked = "SELECT query_start, state_change FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = :name"
    name = {"name": database.url.database}
    with database.reading() as connection:
        before = connection.execute(text(asked), name).all()

    changes.wait(0.5)

    with database.reading() as connection:
        assert before
        assert connection.execute(text(asked), name).all() == before
