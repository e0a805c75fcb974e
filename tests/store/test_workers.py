"""Who trains, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime

from service.lifecycle import WorkerInfo
from service.store import workers
from service.store.engine import Database
from tests.store.records import claim, submit


def test_a_worker_is_listed_with_its_jobs_until_it_leaves(database: Database) -> None:
    now = datetime.now(UTC)
    me = WorkerInfo(id="wrk_1", hostname="here", pid=7, trainers=2, device="cpu", jobs=[], started_at=now, seen_at=now)
    submitted = submit(database)
    claim(database, "wrk_1")
    for _ in range(2):
        with database.transaction() as connection:
            workers.beat(connection, me)

    with database.reading() as connection:
        (listed,) = workers.find(connection)
    assert (listed.id, listed.jobs, listed.device) == ("wrk_1", [submitted.id], "cpu")

    with database.transaction() as connection:
        workers.leave(connection, "wrk_1")
        assert workers.find(connection) == []
