"""The worker registry, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from service.store import workers
from service.store.engine import Database
from service.store.jobs import gangs
from service.store.jobs.gang_order import Member
from service.store.worker_tables import workers as table
from service.store.workers import WorkerInfo
from tests.store.records import claim, submit

MEMBER = Member("wrk_0", "cpu", trainers=1, free=1, lease_seconds=15.0, gang_seconds=60.0)


def info(worker_id: str = "wrk_1", **fields: Any) -> WorkerInfo:
    now = datetime.now(UTC)
    values = {"hostname": "here", "pid": 7, "trainers": 2, "device": "cpu", "jobs": [], "started_at": now}
    return WorkerInfo.model_validate({"id": worker_id, **values, "seen_at": now, **fields})


def test_a_worker_is_listed_with_its_jobs_until_it_deregisters(database: Database) -> None:
    me = info("wrk_1", labels={"gpu": "h100"}, preemptible=True)
    submitted = submit(database)
    claim(database, "wrk_1")
    for _ in range(2):
        with database.transaction() as connection:
            workers.heartbeat(connection, me)

    with database.reading() as connection:
        (listed,) = workers.find(connection)
    assert (listed.id, listed.jobs, listed.device) == ("wrk_1", [submitted.id], "cpu")
    assert (listed.labels, listed.preemptible) == ({"gpu": "h100"}, True)

    with database.transaction() as connection:
        workers.deregister(connection, "wrk_1")
        assert workers.find(connection) == []


def test_workers_that_follow_in_a_gang_or_have_reserved_trainers_are_occupied(database: Database) -> None:
    with database.transaction() as connection:
        for number in range(4):
            workers.heartbeat(connection, info(f"wrk_{number}", pid=number, trainers=1))
    running = submit(database, parallel={"devices": 2})
    members = [replace(MEMBER, worker=f"wrk_{number}") for number in range(4)]
    for member in (members[0], members[1], members[0], members[1]):
        step(database, member)
    submit(database, parallel={"devices": 3})
    step(database, members[2])

    with database.reading() as connection:
        found = workers.find(connection)
        occupied = workers.occupied(connection)

    assert [each.jobs for each in found] == [[running.id], [running.id], [], []]
    assert occupied == {("here", 0): True, ("here", 1): True, ("here", 2): True, ("here", 3): False}


def step(database: Database, member: Member) -> None:
    with database.transaction() as connection:
        gangs.step(connection, member, [])


def test_workers_without_heartbeats_are_not_listed_and_later_deleted(database: Database) -> None:
    now = datetime.now(UTC)
    for number, age in enumerate([timedelta(days=2), timedelta(minutes=2), timedelta()]):
        me = info(f"wrk_{number}")
        with database.transaction() as connection:
            workers.heartbeat(connection, me)
            connection.execute(update(table).where(table.c.id == me.id).values(seen_at=now - age))

    with database.transaction() as connection:
        assert [worker.id for worker in workers.find(connection)] == ["wrk_2"]
        assert connection.scalars(select(table.c.id).order_by(table.c.id)).all() == ["wrk_1", "wrk_2"]
        workers.heartbeat(connection, WorkerInfo(**(me.model_dump() | {"seen_at": now - timedelta(hours=3)})))
        assert len(workers.find(connection)) == 1  # a worker's own clock may be wrong
