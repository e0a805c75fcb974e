"""Jobs on several devices in the queue, and where their ranks meet."""

from __future__ import annotations

import pytest

from service.errors import LeaseLost
from service.store.engine import Database
from service.store.jobs import leases, rendezvous
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.store.records import claim, submit

DATA = {"kind": "synthetic", "rows": 100, "features": 3}


def claim_on(database: Database, ranks: int) -> list[Claim]:
    with database.transaction() as connection:
        return claim_jobs(connection, Claimant("wrk_1", {"cpu"}, 16, 1, ranks=ranks), seconds=15.0)


def test_a_job_waits_for_a_worker_with_enough_devices(database: Database) -> None:
    parallel = submit(database, data=DATA, parallel={"devices": 3}, priority=5)
    small = submit(database, data=DATA)

    assert [each.job_id for each in claim_on(database, 2)] == [small.id]
    assert claim_on(database, 2) == []
    assert [each.job_id for each in claim_on(database, 3)] == [parallel.id]


def test_jobs_on_several_devices_train_alone(database: Database) -> None:
    first, second = (submit(database, data=DATA, parallel={"devices": 2}) for _ in range(2))

    assert [each.job_id for each in claim_on(database, 4)] == [first.id]
    assert [each.job_id for each in claim_on(database, 4)] == [second.id]


def test_the_ranks_of_an_attempt_meet_at_its_leaders_address(database: Database) -> None:
    submit(database)
    (own,) = claim(database)
    with database.transaction() as connection:
        assert rendezvous.find(connection, own.job_id, own.attempt) is None

        rendezvous.publish(connection, own.job_id, own.attempt, "127.0.0.1 4711")

        assert rendezvous.find(connection, own.job_id, own.attempt) == "127.0.0.1 4711"


def test_an_ended_attempt_has_no_address(database: Database) -> None:
    submit(database)
    (own,) = claim(database)
    with database.transaction() as connection:
        with pytest.raises(LeaseLost):
            rendezvous.publish(connection, own.job_id, own.attempt + 1, "127.0.0.1 4711")
        with pytest.raises(LeaseLost):
            rendezvous.find(connection, own.job_id, own.attempt + 1)


def test_the_address_of_an_earlier_attempt_is_not_found(database: Database) -> None:
    submit(database)
    (own,) = claim(database, seconds=-1.0)
    with database.transaction() as connection:
        rendezvous.publish(connection, own.job_id, own.attempt, "127.0.0.1 4711")
    with database.transaction() as connection:
        leases.reap(connection)
    (again,) = claim(database)

    with database.reading() as connection:
        assert rendezvous.find(connection, again.job_id, again.attempt) is None
