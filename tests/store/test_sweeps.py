"""Sweeps: created with all jobs or none, read in two statements, cancelled together, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event

from service.domain.access import DEFAULT_TENANT
from service.domain.job import Job
from service.domain.status import Control, Status, StopReason
from service.domain.sweep import Sweep, SweepStatus
from service.errors import IdempotencyMismatch, NotFound, QueueFull
from service.spec.data import DatasetData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.spec.sweep import SweepSpec, changed, expand
from service.store import sweeps
from service.store.engine import Database
from service.store.jobs import actions, attempt, jobs
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from service.store.sweeps import SweepJob
from tests.store.records import claim, epoch

BASE: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 60, "features": 3}}


def plan(**fields: Any) -> tuple[SweepSpec, list[SweepJob]]:
    spec = SweepSpec.model_validate({"base": BASE, **fields})
    planned = []
    for point in expand(spec):
        job = JobSpec.model_validate(changed(spec.base, point.changes))
        assert not isinstance(job.data, DatasetData)
        planned.append(SweepJob(point.changes, resolve(job, profile_of(job.data))))
    return spec, planned


def create(database: Database, *, max_queued: int = 10_000, **fields: Any) -> Sweep:
    new = sweeps.prepare(*plan(**fields), DEFAULT_TENANT)
    staged: list[str] = []
    for chunk in new.chunks:
        with database.transaction(DEFAULT_TENANT) as connection:
            jobs.stage(connection, chunk)
        staged += [job["id"] for job in chunk]
    with database.transaction(DEFAULT_TENANT) as connection:
        return sweeps.create(connection, new, staged=staged, max_queued=max_queued)[0]


def get(database: Database, sweep: Sweep) -> Sweep:
    with database.reading() as connection:
        return sweeps.get(connection, sweep.id)


def jobs_of(database: Database, sweep: Sweep) -> list[Job]:
    """The sweep's jobs in submission order."""
    with database.reading() as connection:
        return jobs.find(connection, jobs.JobFilter(sweep=sweep.id), limit=10_000)[::-1]


def train(database: Database, status: Status = Status.succeeded, **metrics: float | None) -> str:
    """Claim the next job and end it with these metrics at its best epoch; returns its id."""
    (taken,) = claim(database)
    best = BestSoFar(2, 0.0, metrics) if metrics else None
    reason = StopReason.max_epochs if status is Status.succeeded else None
    with database.transaction() as connection:
        write(connection, "cpu", [AttemptRecord(taken.job_id, taken.attempt, [epoch(1), epoch(2)], best)])
        attempt.finish(connection, taken.job_id, taken.attempt, Outcome(status, reason))
    return taken.job_id


@contextmanager
def counting(connection: Connection) -> Iterator[list[str]]:
    """Collect the statements executed inside, except BEGIN."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if not sql.startswith("BEGIN"):
            statements.append(sql)

    event.listen(connection, "before_cursor_execute", note)
    yield statements
    event.remove(connection, "before_cursor_execute", note)


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


def test_cancelling_cancels_queued_jobs_and_requests_it_of_running_ones(database: Database) -> None:
    sweep = create(database, replicates=20)
    train(database, val_loss=0.5)
    (running,) = claim(database)

    with database.transaction() as connection, counting(connection) as statements:
        asked = sweeps.cancel(connection, sweep.id)

    assert len(statements) == 7  # their locks, the jobs, two for their logs, the sweep, and two to read it
    assert asked.status is SweepStatus.running
    assert {status: n for status, n in asked.counts.items() if n} == {"succeeded": 1, "running": 1, "cancelled": 18}
    assert [job.control for job in jobs_of(database, sweep) if job.id == running.job_id] == [Control.cancel]
    with database.transaction() as connection:
        attempt.finish(connection, running.job_id, running.attempt, Outcome(Status.cancelled, StopReason.cancelled))
    assert get(database, sweep).status is SweepStatus.cancelled


def test_cancelling_does_not_affect_other_jobs(database: Database) -> None:
    sweep, other = create(database), create(database)

    with database.transaction() as connection:
        sweeps.cancel(connection, sweep.id)
    with pytest.raises(NotFound), database.transaction("other") as connection:
        sweeps.cancel(connection, other.id)

    assert get(database, other).status is SweepStatus.running


def test_a_finished_sweep_cannot_be_cancelled(database: Database) -> None:
    sweep = create(database, replicates=2)
    train(database, val_loss=0.5)
    with database.transaction() as connection:
        actions.cancel(connection, jobs_of(database, sweep)[1].id)

    for _ in range(2):
        with database.transaction() as connection:
            ended = sweeps.cancel(connection, sweep.id)

    assert (ended.status, ended.counts[Status.cancelled]) == (SweepStatus.finished, 1)


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
