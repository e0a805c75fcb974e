"""The demand for workers, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.access import DEFAULT_TENANT
from service.store import demand, workers
from service.store.demand import ALL_WORKERS, Demand, Pool
from service.store.engine import Database
from service.store.jobs import gangs, jobs
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.jobs.gang_order import Member
from tests.specs import synthetic
from tests.store.records import claim, crash, submit
from tests.store.test_workers import info

H100 = {"worker": {"labels": {"gpu": "h100"}}}


def read(database: Database, pool: Pool = ALL_WORKERS, **options: Any) -> Demand:
    with database.reading() as connection:
        return demand.read(connection, pool, **options)


def test_an_array_of_queued_jobs_needs_a_trainer(database: Database) -> None:
    for seed in range(17):
        submit(database, seed=seed)
    submit(database, batch_size=32)

    found = read(database)

    (queued,) = found.queued
    assert (queued.jobs, queued.trainers, found.queued_trainers, found.running_trainers) == (18, 3, 3, 0)
    assert read(database, width=4).queued_trainers == 6
    assert read(database, Pool("cuda")).queued_trainers == 2


def test_jobs_that_crashed_count_alone(database: Database) -> None:
    for seed in range(3):
        submit(database, seed=seed)
    (taken,) = claim(database)
    crash(database, taken.job_id, 1)

    assert read(database).queued_trainers == 2


def test_running_trainers_are_those_of_a_claim(database: Database) -> None:
    for seed in range(6):
        submit(database, seed=seed)
    with database.transaction() as connection:
        workers.heartbeat(connection, info("wrk_1", labels={"gpu": "h100"}))
    claim(database, width=4)
    claim(database, width=1)

    found = read(database)

    (running,) = found.running
    assert (running.jobs, running.trainers, running.device, running.labels) == (5, 2, "cpu", {"gpu": "h100"})
    assert (found.queued_trainers, found.running_trainers) == (1, 2)
    assert read(database, Pool(labels={"gpu": "h100"})).running_trainers == 2
    assert read(database, Pool(labels={})).running_trainers == 0
    assert read(database, Pool("cuda")).running_trainers == 0


@pytest.mark.parametrize(
    ("pool", "trainers"),
    [
        (Pool(), 4),
        (Pool("cpu"), 3),
        (Pool("cuda"), 3),
        (Pool(labels={}), 3),
        (Pool("cpu", {}), 2),
        (Pool("cpu", {"gpu": "h100"}), 3),
        (Pool("cpu", {"gpu": "a100"}), 2),
        (Pool("cuda", {"gpu": "h100", "spot": "true"}), 3),
        (Pool("cuda", {"gpu": "h100"}, exclusive=True), 2),
        (Pool("cuda", {}, exclusive=True), 1),
        (Pool("cpu", {}, exclusive=True), 0),
    ],
)
def test_a_pool_is_wanted_for_what_its_workers_can_train(database: Database, pool: Pool, trainers: int) -> None:
    submit(database)
    submit(database, device="cpu")
    submit(database, device="cuda")
    submit(database, **H100)

    assert read(database, pool).queued_trainers == trainers


def test_nothing_beyond_the_limit_of_running_jobs_is_in_demand(database: Database) -> None:
    for size in range(5):
        submit(database, batch_size=10 + size)
    claim(database)

    found = read(database, max_running=3)

    assert (found.queued_trainers, found.running_trainers, found.queued[0].jobs) == (2, 1, 4)


def test_a_tenant_sees_its_own_demand(database: Database) -> None:
    submit(database)
    with database.transaction("other") as connection:
        jobs.submit(connection, synthetic(), max_queued=10)

    for tenant in (DEFAULT_TENANT, "other"):
        with database.reading(tenant) as connection:
            assert [each.tenant for each in demand.read(connection).queued] == [tenant]
    assert read(database).queued_trainers == 2


def test_a_job_on_several_devices_needs_a_trainer_for_each(database: Database) -> None:
    submit(database)
    for devices in (3, 3, 2):
        submit(database, parallel={"devices": devices})

    found = read(database)

    assert (found.queued_trainers, sum(each.jobs for each in found.queued)) == (9, 4)
    assert found.queued_by_class() == {("auto", ""): (4, 9)}
    assert read(database, max_running=2).queued_trainers < 9


def test_the_trainers_of_a_gang_are_those_of_its_workers(database: Database) -> None:
    leader, follower = Member("wrk_1", "cpu", 1, 1, 15.0, 60.0), Member("wrk_2", "cpu", 2, 2, 15.0, 60.0)
    with database.transaction() as connection:
        workers.heartbeat(connection, info("wrk_1", trainers=1, labels={"zone": "a"}))
        workers.heartbeat(connection, info("wrk_2", trainers=2, labels={"zone": "b"}))
    submit(database, parallel={"devices": 3})
    for member in (leader, follower, leader, follower):
        with database.transaction() as connection:
            gangs.step(connection, member, [])

    found = read(database)

    assert (found.queued_trainers, found.running_trainers, sum(each.jobs for each in found.running)) == (0, 3, 1)
    assert read(database, Pool(labels={"zone": "a"})).trainers == 1
    assert read(database, Pool(labels={"zone": "b"})).trainers == 2


def test_a_job_on_several_devices_of_one_worker_keeps_all_of_them_busy(database: Database) -> None:
    submit(database, parallel={"devices": 3})
    with database.transaction() as connection:
        workers.heartbeat(connection, info("wrk_1", trainers=4))
        claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=4, trainers=4, ranks=4), seconds=15.0)

    assert read(database, Pool("cpu")).running_trainers == 3
