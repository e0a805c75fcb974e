"""Gangs: workers reserve trainers for a job on several devices, and start together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text, update

from service.domain.status import Status
from service.store.engine import Database
from service.store.jobs import actions, gangs, leases
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.jobs.gangs import Dissolved, Reservation, Start
from service.store.worker_tables import gang_members
from tests.store.gangs import BUSY, ONE, THREE, TWO, register, step, submit_on
from tests.store.records import CRASH, claim, job, submit


@pytest.fixture(autouse=True)
def cluster(database: Database) -> None:
    """Three workers with a trainer each."""
    register(database, ONE, TWO, THREE)


def test_the_last_worker_to_be_ready_leads_and_the_others_follow(database: Database) -> None:
    job_id = submit_on(database, 2)

    assert isinstance(step(database, ONE), Reservation)
    assert isinstance(step(database, TWO), Reservation)
    led, followed = step(database, ONE), step(database, TWO)

    assert isinstance(led, Start)
    assert isinstance(followed, Start)
    assert (led.own, followed.own) == (range(1), range(1, 2))
    assert led.claim == replace(followed.claim, waited_seconds=led.claim.waited_seconds)
    found = job(database, job_id)
    assert (found.status, found.worker, found.attempt) == (Status.running, "wrk_1", 1)


def test_a_worker_reserves_no_more_than_the_job_needs(database: Database) -> None:
    submit_on(database, 2)
    step(database, BUSY)
    step(database, replace(TWO, free=0))

    assert step(database, THREE) is None


def test_a_gang_is_complete_when_enough_trainers_are_reserved(database: Database) -> None:
    submit_on(database, 2)

    alone, both = step(database, BUSY), step(database, replace(TWO, free=0))

    assert isinstance(alone, Reservation)
    assert isinstance(both, Reservation)
    assert (alone.complete, both.complete) == (False, True)


def test_a_job_on_more_devices_than_there_are_gets_no_gang(database: Database) -> None:
    submit_on(database, 4)

    assert step(database, BUSY) is None


def test_jobs_of_higher_priority_go_before_a_gang(database: Database) -> None:
    submit_on(database, 2)
    submit(database, priority=1)

    assert step(database, BUSY) is None


def test_a_gang_that_is_not_ready_at_its_deadline_is_dissolved_and_skipped(database: Database) -> None:
    job_id = submit_on(database, 2)
    other = replace(TWO, free=0)
    step(database, BUSY)
    step(database, other)
    with database.transaction() as connection:
        connection.execute(update(gang_members).values(deadline=0.0))

    assert step(database, BUSY) == Dissolved(job_id)
    assert step(database, replace(other, joined=job_id)) == Dissolved(job_id)
    assert step(database, BUSY, job_id) is None
    assert job(database, job_id).status == Status.queued


def test_a_worker_whose_lease_has_lapsed_is_no_member(database: Database) -> None:
    submit_on(database, 2)
    step(database, replace(ONE, lease_seconds=-1.0))

    joined = step(database, TWO)

    assert isinstance(joined, Reservation)
    assert not joined.complete
    assert isinstance(step(database, THREE), Reservation)
    assert isinstance(step(database, TWO), Start)


def test_members_leave_when_the_job_is_cancelled(database: Database) -> None:
    job_id = submit_on(database, 2)
    step(database, ONE)
    with database.transaction() as connection:
        actions.cancel(connection, job_id)

    assert step(database, ONE) is None
    with database.reading() as connection:
        assert not gangs.has_work(connection, "wrk_1")


def test_members_leave_when_another_worker_trains_the_job_alone(database: Database) -> None:
    submit_on(database, 2)
    step(database, ONE)
    with database.transaction() as connection:
        assert claim_jobs(connection, Claimant("wrk_9", {"cpu"}, 1, 1, ranks=2), seconds=15.0)

    assert step(database, ONE) is None


def test_a_rank_sees_that_the_worker_of_another_has_vanished(database: Database) -> None:
    job_id = submit_on(database, 2)
    with database.transaction() as connection:
        assert not gangs.has_lost_member(connection, job_id)  # nobody: the ranks are of one worker
    step(database, ONE)
    step(database, TWO)
    with database.transaction() as connection:
        assert not gangs.has_lost_member(connection, job_id)

        gangs.renew(connection, "wrk_1", -1.0)

        assert gangs.has_lost_member(connection, job_id)
        gangs.leave(connection, "wrk_1")
        assert gangs.has_lost_member(connection, job_id)


def test_a_worker_that_still_trains_an_earlier_attempt_is_not_ready_for_the_next(database: Database) -> None:
    job_id = submit_on(database, 2)
    for member in (ONE, TWO, ONE, TWO):  # started
        step(database, member)
    with database.transaction() as connection:
        leases.record_crash(connection, job_id, 1, CRASH)
        gangs.leave(connection, "wrk_1")

    assert isinstance(step(database, ONE), Reservation)
    assert isinstance(step(database, ONE), Reservation)


def test_ordinary_claims_leave_jobs_that_need_a_gang(database: Database) -> None:
    submit_on(database, 2)
    small = submit(database)

    assert [each.job_id for each in claim(database, width=4)] == [small.id]


def test_looking_for_work_does_not_scan_the_queue(database: Database) -> None:
    submit(database)
    asked: list[tuple[str, Any]] = []
    event.listen(database._engine, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))
    with database.reading() as connection:
        assert not gangs.has_work(connection, "wrk_1")
        found = [(sql, values) for sql, values in asked if "FROM jobs" in sql]
        if not database.is_sqlite:  # a few rows would be scanned
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        how = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        plans = [str(row) for sql, values in found for row in connection.exec_driver_sql(f"{how} {sql}", values)]
    assert any("ix_jobs_parallel" in plan for plan in plans)
