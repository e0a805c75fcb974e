"""Claims of jobs that ask for labels of workers, on both databases."""

from __future__ import annotations

from service.spec.worker import subsets
from service.store.engine import Database
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.store.records import submit


def claim(database: Database, width: int = 8, **labels: str) -> list[str]:
    by = Claimant("wrk_1", {"cpu"}, width, trainers=1, labels=subsets(labels))
    with database.transaction() as connection:
        return [claim.job_id for claim in claim_jobs(connection, by, seconds=15.0)]


def test_a_job_is_claimed_by_workers_that_have_its_labels(database: Database) -> None:
    labels = {"gpu": "h100", "spot": "true"}
    asks = submit(database, worker={"labels": labels})

    assert claim(database) == []
    assert claim(database, gpu="h100") == []
    assert claim(database, gpu="a100", spot="true") == []
    assert claim(database, **labels, zone="b") == [asks.id]


def test_labelled_workers_train_other_jobs_too_in_one_array(database: Database) -> None:
    plain, asks, third = submit(database), submit(database, worker={"labels": {"gpu": "h100"}}), submit(database)

    assert claim(database, gpu="h100") == [plain.id, asks.id, third.id]


def test_jobs_for_other_workers_do_not_block_those_behind_them(database: Database) -> None:
    submit(database, worker={"labels": {"gpu": "h100"}}, priority=5)
    plain = submit(database)

    assert claim(database) == [plain.id]
    assert claim(database) == []
