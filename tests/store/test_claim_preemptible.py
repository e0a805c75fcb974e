"""Long jobs that save cheaply are left to preemptible workers for a while, others to the other workers."""

from __future__ import annotations

from typing import Any

import pytest

from service.store import workers
from service.store.engine import Database
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.store.records import submit
from tests.store.test_workers import info

LONG: dict[str, Any] = {"max_epochs": 1_000_000}


def claim(database: Database, *, preemptible: bool, leaves_seconds: float) -> list[str]:
    by = Claimant("wrk_1", {"cpu"}, 1, 1, preemptible=preemptible, leaves_seconds=leaves_seconds)
    with database.transaction() as connection:
        return [claim.job_id for claim in claim_jobs(connection, by, seconds=15.0)]


@pytest.mark.parametrize("preemptible", [True, False])
def test_each_class_of_workers_claims_what_suits_it_first(database: Database, preemptible: bool) -> None:
    short, long = submit(database), submit(database, **LONG)
    own = long if preemptible else short

    assert claim(database, preemptible=preemptible, leaves_seconds=60.0) == [own.id]
    assert claim(database, preemptible=preemptible, leaves_seconds=60.0) == []
    other = claim(database, preemptible=preemptible, leaves_seconds=1e-6)
    assert other == [short.id if preemptible else long.id]


@pytest.mark.parametrize("preemptible", [True, False])
def test_alone_a_class_of_workers_claims_all_in_order(database: Database, preemptible: bool) -> None:
    submitted = [submit(database), submit(database, **LONG), submit(database)]

    claimed = [claim(database, preemptible=preemptible, leaves_seconds=0.0) for _ in submitted]

    assert claimed == [[each.id] for each in submitted]


def test_a_class_is_live_while_its_workers_send_heartbeats(database: Database) -> None:
    with database.transaction() as connection:
        workers.heartbeat(connection, info("wrk_1", preemptible=True))
        assert workers.live(connection).has_class(preemptible=True)
        assert not workers.live(connection).has_class(preemptible=False)
