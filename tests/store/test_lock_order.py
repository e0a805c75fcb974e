"""Transactions that change several jobs lock them in one order: no deadlocks on Postgres."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import update

from service.domain.access import DEFAULT_TENANT
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status
from service.store.engine import Database
from service.store.jobs import actions, jobs, leases
from service.store.jobs.attempt import AttemptRecord, write
from service.store.schema import jobs as jobs_table
from tests.specs import synthetic
from tests.store.records import claim, epoch

pytestmark = pytest.mark.parametrize("backend", ["postgres"], indirect=True)

CRASH = JobError(code=ErrorCode.worker_lost, message="it died")
JOBS = 60
SECONDS = 2.0
PATIENT = 600.0  # s until a statement times out: Postgres itself ends a deadlock, and a machine may stop for a while


def scrambled(database: Database) -> list[str]:
    """Jobs whose physical order in the table differs from that of their ids."""
    rows = [jobs.new_row(synthetic(), DEFAULT_TENANT) for _ in range(JOBS)]
    with database.transaction(DEFAULT_TENANT) as connection:
        jobs.add(connection, rows[::-1])
    return [row["id"] for row in rows]


def test_concurrent_writes_renewals_reaps_and_cancels_do_not_deadlock(database_url: str) -> None:
    with closing(Database(database_url, statement_seconds=PATIENT)) as database:
        _at_once(database)


def _at_once(database: Database) -> None:
    ids = scrambled(database)
    claims = claim(database, width=JOBS, seconds=60.0)
    assert {each.job_id for each in claims} == {*ids}
    chance = random.Random(0)
    deadlocks, wrong, done = list[str](), list[BaseException](), threading.Event()

    def record(connection: Any) -> None:
        write(connection, "cpu", [AttemptRecord(each.job_id, each.attempt, [epoch(1)]) for each in claims])

    def renew(connection: Any) -> None:
        leases.renew(connection, "wrk_1", ids, 60.0)

    def cancel(connection: Any) -> None:
        actions.cancel_all(connection, jobs_table.c.tenant == DEFAULT_TENANT)
        connection.rollback()

    def reap(connection: Any) -> None:
        leases._requeue(connection, jobs_table.c.status == Status.running, CRASH)
        connection.rollback()

    def rename(connection: Any) -> None:
        """A row that is changed moves in the table, and with it its turn in an unordered UPDATE."""
        connection.execute(update(jobs_table).where(jobs_table.c.id == chance.choice(ids)).values(name="x"))

    def again_and_again(what: Callable[[Any], None]) -> None:
        while not done.is_set():
            try:
                with database._engine.connect() as raw:
                    database._set_timeout(raw)
                    connection = raw.execution_options(bestepoch_tenant=None)
                    what(connection)
                    connection.commit()
            except Exception as error:
                found = getattr(error, "orig", error)
                if not isinstance(found, psycopg.errors.DeadlockDetected):
                    wrong.append(error)
                    return
                deadlocks.append(what.__name__)

    threads = [threading.Thread(target=again_and_again, args=(what,)) for what in (record, renew, cancel, reap, rename)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    done.set()
    for thread in threads:
        thread.join()

    assert (deadlocks, wrong) == ([], [])
