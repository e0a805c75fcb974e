"""The limit on running jobs of a tenant."""

from __future__ import annotations

import threading

from service.domain.status import Status, StopReason
from service.store.engine import Database
from service.store.jobs import attempt, jobs
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.specs import synthetic
from tests.store.records import submit


def test_a_tenant_at_its_running_limit_is_skipped(database: Database) -> None:
    first, second, third = (submit(database) for _ in range(3))
    with database.transaction("other") as connection:
        other, _ = jobs.submit(connection, synthetic(), max_queued=10)

    def claims() -> list[str]:
        with database.transaction() as connection:
            found = claim_jobs(
                connection, Claimant("wrk_1", {"cpu"}, width=16, trainers=1), seconds=15.0, max_running=2
            )
        return [each.job_id for each in found]

    assert [claims(), claims(), claims()] == [[first.id, second.id], [other.id], []]
    with database.transaction() as connection:
        attempt.finish(connection, first.id, 1, Outcome(Status.succeeded, StopReason.max_epochs))
    assert [claims(), claims()] == [[third.id], []]


def test_concurrent_claims_respect_the_limit(database: Database) -> None:
    for _ in range(12):
        submit(database, seed=1, architecture={"hidden": [8]})
    claimed = list[str]()

    def claim_all() -> None:
        for _ in range(5):
            with database.transaction() as connection:
                found = claim_jobs(
                    connection, Claimant("wrk_1", {"cpu"}, width=2, trainers=1), seconds=15.0, max_running=5
                )
            claimed.extend(each.job_id for each in found)

    threads = [threading.Thread(target=claim_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(set(claimed)) == 5
