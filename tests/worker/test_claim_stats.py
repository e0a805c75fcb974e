"""Statistics of a worker's claims."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from service.store.engine import Database
from service.store.schema import jobs
from service.worker.claim_stats import ClaimStats
from tests.store.records import claim, submit


def test_claims_their_time_and_the_wait_of_first_attempts_are_counted(database: Database) -> None:
    stats, first = ClaimStats(), submit(database)
    submit(database)
    with database.transaction() as connection:
        earlier = datetime.now(UTC) - timedelta(seconds=50)
        connection.execute(update(jobs).where(jobs.c.id == first.id).values(created_at=earlier))
        connection.execute(update(jobs).where(jobs.c.id != first.id).values(created_at=earlier, attempt=1))

    for _ in range(3):  # the third time there is nothing
        with stats.claiming() as claims:
            time.sleep(0.01)
            claims += claim(database)

    assert (stats.claims, stats.claimed) == (2, 2)
    assert 50 <= stats.waited_seconds < 80
    assert stats.claim_seconds >= 0.02
