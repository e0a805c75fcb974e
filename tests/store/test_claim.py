"""Claims of queued jobs, on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select, update

from service.domain.status import Status
from service.store import schema
from service.store.engine import Database
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.store.records import claim, job, submit


def claim_on(connection: Any, device: str) -> list[Claim]:
    return claim_jobs(connection, Claimant("wrk_2", {"cpu", device}, width=1, trainers=1), seconds=15.0)


def job_row(database: Database, job_id: str) -> tuple[str, str]:
    with database.reading() as connection:
        row = connection.execute(select(schema.jobs).where(schema.jobs.c.id == job_id)).one()
    return row.status, row.error["code"]


def test_claims_are_ordered_by_priority_and_age(database: Database) -> None:
    first, second, urgent = submit(database), submit(database), submit(database, priority=5)

    taken = [*claim(database), *claim(database)]

    assert [c.job_id for c in taken] == [urgent.id, first.id]
    assert job(database, second.id).status is Status.queued


def test_a_claim_starts_the_job_and_increments_its_attempt(database: Database) -> None:
    submitted = submit(database)

    (taken,) = claim(database, "wrk_7")

    running = job(database, submitted.id)
    assert (running.status, running.attempt, running.worker) == (Status.running, 1, "wrk_7")
    assert taken.spec == submitted.spec
    assert running.started_at is not None


def test_a_job_for_a_gpu_waits_for_a_worker_with_one(database: Database) -> None:
    wants_gpu = submit(database, device="cuda")

    assert claim(database) == []
    with database.transaction() as connection:
        assert [c.job_id for c in claim_on(connection, "cuda")] == [wants_gpu.id]


def test_concurrent_claims_take_each_job_once(database: Database) -> None:
    submitted = {submit(database).id for _ in range(60)}
    taken: list[str] = []

    def work(name: str) -> None:
        while claims := claim(database, name, width=3):
            taken.extend(c.job_id for c in claims)

    threads = [threading.Thread(target=work, args=(f"wrk_{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(taken) == Counter(submitted)


def test_a_job_with_an_unreadable_spec_fails_without_blocking_others(database: Database) -> None:
    newer, fine = submit(database), submit(database, seed=1)
    with database.transaction() as connection:
        spec = fine.known_spec.model_dump(mode="json") | {"precision": "qubits"}
        connection.execute(update(schema.jobs).where(schema.jobs.c.id == newer.id).values(spec=spec))

    assert [c.job_id for c in claim(database, width=2)] == [fine.id]

    failed = job_row(database, newer.id)
    assert failed == ("failed", "invalid_spec")


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_concurrent_claims_skip_locked_jobs(database: Database) -> None:
    first, second = submit(database), submit(database, batch_size=7)

    with database.transaction() as connection:
        (one,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=15.0)
        (other,) = claim(database, "wrk_2")

    assert (one.job_id, other.job_id) == (first.id, second.id)
