"""Jobs that one claim takes as an array, on both databases."""

from __future__ import annotations

from service.domain.job import JobError
from service.domain.status import ErrorCode
from service.store.engine import Database
from service.store.jobs import leases
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
