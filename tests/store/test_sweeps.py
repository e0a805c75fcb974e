"""Sweeps: created with all jobs or none, read in two statements, on both databases."""

from __future__ import annotations

import threading

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.domain.sweep import SweepStatus
from service.errors import IdempotencyMismatch, NotFound, QueueFull
from service.spec.data import DatasetData
from service.store import sweeps
from service.store.engine import Database
from service.store.jobs import actions, jobs
from service.store.sweeps import SweepJob
from tests.store.sweep_records import BASE, counting, create, get, jobs_of, plan, train


def test_a_sweep_queues_its_jobs_in_the_points_order(database: Database) -> None:
    sweep = create(database, name="rates", labels={"team": "a"}, grid={"optimizer.lr": [0.1, 0.2], "seed": [5, 6]})

    created = jobs_of(database, sweep)

    assert [job.point for job in created] == [
        {"optimizer.lr": rate, "seed": seed} for rate in (0.1, 0.2) for seed in (5, 6)
    ]
    assert [(job.spec.optimizer.lr, job.spec.seed) for job in created] == [(0.1, 5), (0.1, 6), (0.2, 5), (0.2, 6)]
    assert [job.id for job in created] == sorted(job.id for job in created)
    assert {job.sweep for job in created} == {sweep.id}
    assert (sweep.name, sweep.labels, sweep.status, sweep.jobs) == ("rates", {"team": "a"}, SweepStatus.running, 4)
    assert (sweep.base, sweep.grid, sweep.points) == (BASE, {"optimizer.lr": [0.1, 0.2], "seed": [5, 6]}, None)


@pytest.mark.slow
def test_thousands_of_jobs_keep_their_order(database: Database) -> None:
    sweep = create(database, replicates=1_000, grid={"batch_size": [8, 16]})

    with database.reading() as connection:
        newest = jobs.find(connection, jobs.JobFilter(sweep=sweep.id), limit=1_500)

    assert sweep.counts[Status.queued] == 2_000
    assert [job.spec.seed for job in newest] == [*range(999, -1, -1), *range(999, 499, -1)]


def test_a_sweep_that_exceeds_the_queue_limit_queues_nothing(database: Database) -> None:
    create(database, replicates=2)

    with pytest.raises(QueueFull, match="is limited to 4 jobs, with no room for 3 more"):
        create(database, replicates=3, max_queued=4)

    with database.reading() as connection:
        assert len(sweeps.find(connection, limit=10)) == 1
        assert len(jobs.find(connection, limit=10)) == 2
    create(database, replicates=2, max_queued=4)


def test_a_sweep_on_a_deleted_data_set_stores_nothing(database: Database) -> None:
    spec, (first, second) = plan(replicates=2)
    data = DatasetData(id="ds_gone", target="y")
    orphan = second.resolved.__class__(
        **{**vars(second.resolved), "spec": second.resolved.spec.model_copy(update={"data": data})}
    )

    new = sweeps.prepare(spec, [first, SweepJob({}, orphan)], DEFAULT_TENANT)

    with pytest.raises(NotFound, match="data set"), database.transaction(DEFAULT_TENANT) as connection:
        sweeps.create(connection, new, max_queued=10)

    with database.reading() as connection:
        assert sweeps.find(connection, limit=10) == []
        assert jobs.find(connection, limit=10) == []


def test_concurrent_submissions_with_one_key_create_one_sweep(database: Database) -> None:
    spec, planned = plan(replicates=5)
    seen: list[tuple[str, bool]] = []

    def post() -> None:
        with database.transaction(DEFAULT_TENANT) as connection:
            new = sweeps.prepare(spec, planned, DEFAULT_TENANT, idempotency_key="k", request_sha256="r")
            sweep, created = sweeps.create(connection, new, max_queued=100)
        seen.append((sweep.id, created))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(seen), len({sweep_id for sweep_id, _ in seen}), sum(created for _, created in seen)) == (8, 1, 1)
    with database.reading() as connection:
        assert len(jobs.find(connection, limit=100)) == 5
        with pytest.raises(IdempotencyMismatch):
            sweeps.by_idempotency_key(connection, "k", "another request")


def test_a_sweep_is_running_until_its_last_job_has_ended(database: Database) -> None:
    sweep = create(database, replicates=2)
    train(database, val_loss=0.5)
    assert get(database, sweep).status is SweepStatus.running

    train(database, Status.failed)

    ended = get(database, sweep)
    assert (ended.status, ended.jobs) == (SweepStatus.finished, 2)
    assert {status: n for status, n in ended.counts.items() if n} == {Status.succeeded: 1, Status.failed: 1}


@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [("val_loss", [0.5, 0.1, 0.3], 1), ("val_accuracy", [0.5, 0.9, 0.9], 1), ("val_roc_auc", [None, None, 0.1], 2)],
)
def test_the_best_job_is_chosen_by_the_base_monitor(
    database: Database, monitor: str, values: list[float | None], best: int
) -> None:
    sweep = create(database, base={**BASE, "early_stopping": {"monitor": monitor}}, replicates=4)
    assert sweep.best is None
    trained = [
        train(database, status, **{monitor: value, "train_loss": 0.2})
        for value, status in zip(values, [Status.failed, Status.succeeded, Status.failed], strict=True)
    ]

    found = get(database, sweep).best

    assert found is not None
    assert (found.job, found.value, found.monitor, found.epoch) == (trained[best], values[best], monitor, 2)
    assert (found.point, found.metrics["train_loss"]) == ({"seed": best}, 0.2)


def test_jobs_with_other_monitors_are_compared_by_the_base_monitor(database: Database) -> None:
    sweep = create(database, grid={"early_stopping.monitor": ["val_accuracy", "val_loss"]})
    by_accuracy = train(database, val_accuracy=0.9, val_loss=0.2)
    train(database, val_accuracy=0.8, val_loss=0.3)

    best = get(database, sweep).best

    assert best is not None
    assert (best.job, best.value) == (by_accuracy, 0.2)


def test_sweeps_are_listed_newest_first_each_with_its_own_best(database: Database) -> None:
    older, newer = create(database, replicates=2), create(database)
    values = {train(database, val_loss=loss): loss for loss in (0.4, 0.2, 0.3)}

    with database.reading() as connection:
        page = sweeps.find(connection, limit=2)
        assert [s.id for s in sweeps.find(connection, limit=2, after=newer.id)] == [older.id]
    with database.reading("other") as connection:
        assert sweeps.find(connection, limit=2) == []

    assert [sweep.id for sweep in page] == [newer.id, older.id]
    assert [sweep.best and sweep.best.value for sweep in page] == [0.3, 0.2]
    assert all(sweep.best and values[sweep.best.job] == sweep.best.value for sweep in page)


def test_reading_sweeps_takes_two_statements(database: Database) -> None:
    sweep = create(database, replicates=30)
    create(database, replicates=30)

    with database.reading() as connection:
        with counting(connection) as one:
            sweeps.get(connection, sweep.id)
        with counting(connection) as many:
            sweeps.find(connection, limit=10)

    assert (len(one), len(many)) == (2, 2)


def test_deleted_jobs_are_not_counted(database: Database) -> None:
    sweep = create(database, replicates=2)
    first, second = train(database, val_loss=0.1), train(database, val_loss=0.2)

    with database.transaction() as connection:
        jobs.remove(connection, first)

    left = get(database, sweep)
    assert (left.jobs, left.best and left.best.job) == (1, second)


def test_the_newest_live_job_is_found(database: Database) -> None:
    sweep = create(database, replicates=2)
    older, newer = jobs_of(database, sweep)

    with database.transaction() as connection:
        seen = [sweeps.newest_live(connection, sweep.id)]
        for job in (newer, older):
            actions.cancel(connection, job.id)
            seen.append(sweeps.newest_live(connection, sweep.id))

    assert seen == [newer.id, older.id, None]
