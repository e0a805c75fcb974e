"""The demand for workers, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.access import DEFAULT_TENANT
from service.store import demand, workers
from service.store.demand import ALL_WORKERS, Demand, Pool
from service.store.engine import Database
from service.store.jobs import jobs
from tests.specs import synthetic
from tests.store.records import claim, crash, submit
from tests.store.test_workers import info

H100 = {"worker": {"labels": {"gpu": "h100"}}}


def read(database: Database, pool: Pool = ALL_WORKERS, **options: Any) -> Demand:
    with database.reading() as connection:
        return demand.read(connection, pool, **options)


def test_queued_jobs_count_as_the_arrays_that_they_fit_into(database: Database) -> None:
    for seed in range(17):
        submit(database, seed=seed)
    submit(database, batch_size=32)

    found = read(database)

    (queued,) = found.queued
    assert (queued.jobs, queued.arrays, found.queued_arrays, found.running_arrays) == (18, 3, 3, 0)
    assert read(database, width=4).queued_arrays == 6
    assert read(database, Pool("cuda")).queued_arrays == 2


def test_jobs_that_crashed_count_alone(database: Database) -> None:
    for seed in range(3):
        submit(database, seed=seed)
    (taken,) = claim(database)
    crash(database, taken.job_id, 1)

    assert read(database).queued_arrays == 2


def test_running_arrays_are_those_of_a_claim(database: Database) -> None:
    for seed in range(6):
        submit(database, seed=seed)
    with database.transaction() as connection:
        workers.heartbeat(connection, info("wrk_1", labels={"gpu": "h100"}))
    claim(database, width=4)
    claim(database, width=1)

    found = read(database)

    (running,) = found.running
    assert (running.jobs, running.arrays, running.device, running.labels) == (5, 2, "cpu", {"gpu": "h100"})
    assert (found.queued_arrays, found.running_arrays) == (1, 2)
    assert read(database, Pool(labels={"gpu": "h100"})).running_arrays == 2
    assert read(database, Pool(labels={})).running_arrays == 0
    assert read(database, Pool("cuda")).running_arrays == 0


@pytest.mark.parametrize(
    ("pool", "arrays"),
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
def test_a_pool_is_wanted_for_what_its_workers_can_train(database: Database, pool: Pool, arrays: int) -> None:
    submit(database)
    submit(database, device="cpu")
    submit(database, device="cuda")
    submit(database, **H100)

    assert read(database, pool).queued_arrays == arrays


def test_nothing_beyond_the_limit_of_running_jobs_is_in_demand(database: Database) -> None:
    for size in range(5):
        submit(database, batch_size=10 + size)
    claim(database)

    found = read(database, max_running=3)

    assert (found.queued_arrays, found.running_arrays, found.queued[0].jobs) == (2, 1, 4)


def test_a_tenant_sees_its_own_demand(database: Database) -> None:
    submit(database)
    with database.transaction("other") as connection:
        jobs.submit(connection, synthetic(), max_queued=10)

    for tenant in (DEFAULT_TENANT, "other"):
        with database.reading(tenant) as connection:
            assert [each.tenant for each in demand.read(connection).queued] == [tenant]
    assert read(database).queued_arrays == 2
