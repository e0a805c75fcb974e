"""Jobs that one claim takes as an array, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from service.domain.job import JobError
from service.domain.status import ErrorCode
from service.store.engine import Database
from service.store.jobs import leases
from service.store.schema import jobs
from tests.store.records import claim, submit


def test_similar_jobs_are_claimed_together(database: Database) -> None:
    alike = [submit(database, seed=seed, optimizer={"lr": 0.1 / (seed + 1)}).id for seed in range(3)]
    other = submit(database, batch_size=7)

    assert [c.job_id for c in claim(database, width=16)] == alike
    assert [c.job_id for c in claim(database, width=16)] == [other.id]


def test_arrays_have_at_most_width_jobs_and_idle_trainers_share(database: Database) -> None:
    for seed in range(10):
        submit(database, seed=seed)

    assert len(claim(database, width=4, trainers=2)) == 4
    assert len(claim(database, width=16, trainers=2)) == 3
    assert len(claim(database, width=16)) == 3


def test_a_job_that_has_crashed_is_claimed_alone(database: Database) -> None:
    crashed, fresh = submit(database), submit(database, seed=1)
    claim(database)
    with database.transaction() as connection:
        leases.record_crash(connection, crashed.id, 1, JobError(code=ErrorCode.worker_lost, message="it died"))

    assert [c.job_id for c in claim(database, width=16)] == [crashed.id]
    assert [c.job_id for c in claim(database, width=16)] == [fresh.id]


def test_large_networks_form_smaller_arrays(database: Database) -> None:
    for seed in range(4):
        submit(database, seed=seed, architecture={"hidden": [1_000, 1_000]})

    assert len(claim(database, width=16)) == 2


def test_large_batches_of_images_form_smaller_arrays(database: Database) -> None:
    data = {"kind": "synthetic", "rows": 5_000, "features": 64}
    images = {"kind": "cnn", "shape": [1, 8, 8], "channels": [16], "hidden": []}
    for seed in range(12):
        submit(database, seed=seed, data=data, architecture=images, batch_size=4_000)

    # 64 + 3 x 1,024 + 2 x 256 + 2 values between the layers of each row.
    assert len(claim(database, width=16)) == 2**26 // (4_000 * 3_650) == 4


def ids(database: Database, width: int = 16, trainers: int = 1) -> list[str]:
    """The ids of one claim."""
    return [each.job_id for each in claim(database, width=width, trainers=trainers)]


SPLITS: list[dict[str, Any]] = [
    *({"folds": 5, "fold": fold} for fold in range(1, 6)),
    {"validation": 0.1},
    {"validation": 0.3, "seed": 7},
    {"shuffle": False},
]


def test_folds_and_other_splits_of_a_table_are_claimed_together(database: Database) -> None:
    alike = [submit(database, split=split, seed=seed).id for split in SPLITS for seed in (0, 1)]
    other_data = submit(database, data={"kind": "synthetic", "rows": 61, "features": 3})

    assert ids(database, width=32) == alike
    assert ids(database, width=32) == [other_data.id]


def test_idle_trainers_share_folds_evenly(database: Database) -> None:
    for fold in range(1, 11):
        submit(database, split={"folds": 10, "fold": fold})

    assert [len(ids(database, trainers=left)) for left in (3, 2, 1)] == [4, 3, 3]


def test_the_memory_of_rows_limits_the_row_sets_of_a_claim_but_not_the_seeds(database: Database) -> None:
    # 2,400,000 rows of 32 padded inputs take 293 MiB: three sets are below 1 GiB.
    data = {"kind": "synthetic", "rows": 2_400_000, "features": 20}
    submitted = [
        submit(database, data=data, split={"folds": 4, "fold": fold}, seed=seed, batch_size=4_096).id
        for fold in (1, 2, 3, 4)
        for seed in (0, 1, 2)
    ]

    assert ids(database) == submitted[:9]
    assert ids(database) == submitted[9:]


def test_jobs_whose_rows_do_not_fit_wait_while_later_ones_on_claimed_rows_train(database: Database) -> None:
    data = {"kind": "synthetic", "rows": 5_000_000, "features": 10}
    first, second = [
        [
            submit(database, data=data, split={"folds": 2, "fold": fold}, seed=seed, batch_size=4_096).id
            for fold in (1, 2)
        ]
        for seed in (0, 1)
    ]

    assert ids(database) == [first[0], second[0]]
    assert ids(database) == [first[1], second[1]]


def test_the_member_with_the_largest_step_limits_the_claim(database: Database) -> None:
    # A full batch of half of the rows allows 8 members, one of nine tenths 4.
    images = {"kind": "cnn", "shape": [1, 8, 8], "channels": [16], "hidden": []}
    fields: dict[str, Any] = {
        "data": {"kind": "synthetic", "rows": 4_000, "features": 64},
        "architecture": images,
        "batch_size": "full",
    }
    small = [submit(database, **fields, split={"validation": 0.5}, seed=seed).id for seed in (0, 1, 2)]
    large = [submit(database, **fields, split={"validation": 0.1}, seed=seed).id for seed in range(5)]

    assert ids(database) == [*small, *large[:1]]
    assert ids(database) == large[1:]


def test_a_fold_that_has_crashed_is_claimed_alone(database: Database) -> None:
    crashed, *others = [submit(database, split={"folds": 4, "fold": fold}).id for fold in (1, 2, 3, 4)]
    claim(database)
    with database.transaction() as connection:
        leases.record_crash(connection, crashed, 1, JobError(code=ErrorCode.worker_lost, message="it died"))

    assert ids(database) == [crashed]
    assert ids(database) == others


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_jobs_that_an_older_version_submitted_share_their_rows(database: Database) -> None:
    old = [submit(database, split={"folds": 2, "fold": fold}, seed=seed).id for fold in (1, 2) for seed in (0, 1)]
    with database.transaction() as connection:
        connection.execute(update(jobs).values(shape_key=None, row_sets=1))

    assert ids(database) == old[:2]
    assert ids(database) == old[2:]
