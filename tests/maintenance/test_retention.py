"""Retention deletes expired jobs and sweeps with everything that belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status
from service.errors import NotFound
from service.maintenance import collector as collector_module
from service.maintenance.collector import DAY, JOBS
from service.store import sweeps
from service.store.engine import Database
from service.store.jobs import actions, attempt, jobs
from service.store.maintenance import garbage, retention
from service.store.schema import checkpoints, epochs
from service.store.schema import jobs as jobs_table
from service.store.schema import sweeps as sweeps_table
from tests.api.job_factory import JobFactory, epoch
from tests.maintenance.collector_helpers import advance_clock, collect, collect_once, keys, set_end_time
from tests.store import sweep_records
from tests.store.records import claim as claim_from
from tests.store.records import submit_limited

pytestmark = pytest.mark.usefixtures("paired")


class FastClock(datetime):
    """A clock that is a year fast."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return super().now(tz) + timedelta(days=365)


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        for module in (collector_module, garbage):
            patch.setattr(module, "datetime", FastClock)
        yield patch


def test_jobs_are_kept_forever_by_default(job_factory: JobFactory) -> None:
    claim = job_factory.trained()
    set_end_time(job_factory.database, claim.job_id, days=10_000)

    collect(job_factory)

    with job_factory.database.reading() as connection:
        assert jobs.get(connection, claim.job_id).status is Status.succeeded


def test_jobs_and_sweeps_with_decisions_due_are_kept(database: Database) -> None:
    waiting, _ = sweep_records.create(database, model="m"), sweep_records.create(database)
    ended = [sweep_records.train(database, val_loss=0.5) for _ in range(2)]
    later = datetime.now(UTC) + timedelta(days=1)

    with database.transaction() as connection:
        assert retention.delete_jobs(connection, later, 10) == 1
        assert retention.delete_sweeps(connection, later) == 1

    with database.reading() as connection:
        assert [sweep.id for sweep in sweeps.find(connection, limit=10)] == [waiting.id]
        assert {job.id for job in jobs.find(connection, limit=10)} < {*ended}


def test_expired_jobs_are_deleted_with_their_rows_and_files(job_factory: JobFactory, artifacts: Artifacts) -> None:
    old = [job_factory.trained().job_id for _ in range(JOBS + 2)]
    recent, live = job_factory.trained().job_id, job_factory.queued().id
    set_end_time(job_factory.database, *old, days=8)
    set_end_time(job_factory.database, recent, days=6)

    found = keys(artifacts)

    collect(job_factory, keep_days=7)

    with job_factory.database.reading() as connection:
        assert [job.id for job in jobs.find(connection, limit=100)] == [live, recent]
        assert set(connection.scalars(select(epochs.c.job_id))) == {recent}
        assert set(connection.scalars(select(checkpoints.c.job_id))) == {recent}
    assert {key.split("/")[1] for key in keys(artifacts)} == {recent, *old}, "files are kept for the grace period"
    advance_clock(job_factory.database)
    assert set(collect_once(job_factory).deleted) == {key for key in found if key.split("/")[1] in old}
    assert {key.split("/")[1] for key in keys(artifacts)} == {recent}


def test_jobs_with_an_unknown_status_are_kept(job_factory: JobFactory) -> None:
    claim = job_factory.trained()
    set_end_time(job_factory.database, claim.job_id)
    with job_factory.database.transaction() as connection:
        connection.execute(update(jobs_table).values(status="archived"))

    collect(job_factory, keep_days=7)

    with job_factory.database.reading() as connection:
        assert jobs.get(connection, claim.job_id).status == "archived"


def test_sweeps_are_deleted_after_their_last_job(job_factory: JobFactory) -> None:
    expired, kept = job_factory.swept(), job_factory.swept()
    long_ago = datetime.now(UTC) - timedelta(days=10)
    with job_factory.database.transaction() as connection:
        connection.execute(update(sweeps_table).values(created_at=long_ago))
        ended = update(jobs_table).where(jobs_table.c.sweep_id == expired.id)
        connection.execute(ended.values(finished_at=long_ago))

    collect(job_factory, keep_days=7)

    with job_factory.database.reading() as connection:
        assert sweeps.get(connection, kept.id).jobs == 1
        with pytest.raises(NotFound):
            sweeps.get(connection, expired.id)


def test_a_wall_clock_that_jumps_deletes_no_job(job_factory: JobFactory, fast_clock: pytest.MonkeyPatch) -> None:
    claim = job_factory.trained()
    collect_once(job_factory, keep_days=7)
    collect_once(job_factory, keep_days=7)
    advance_clock(job_factory.database, DAY - 60)
    collect_once(job_factory, keep_days=7)
    fast_clock.undo()
    advance_clock(job_factory.database)

    collect_once(job_factory, keep_days=7)

    with job_factory.database.reading() as connection:
        assert jobs.get(connection, claim.job_id).status is Status.succeeded


def test_pruned_jobs_expire_with_their_states(job_factory: JobFactory, artifacts: Artifacts) -> None:
    submit_limited(job_factory.database, 3)
    (claim,) = claim_from(job_factory.database)
    job_factory.record(claim, epoch(3))
    for kind in (CheckpointKind.best, CheckpointKind.state):
        job_factory.publish(claim, 3, kind)
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        attempt.release(connection, claim.job_id, claim.attempt)
        actions.prune(connection, [claim.job_id], "pruned: not among the best")

    collect(job_factory, keep_days=7)
    assert len(keys(artifacts)) == 2
    set_end_time(job_factory.database, claim.job_id, days=8)
    collect(job_factory, keep_days=7)

    with pytest.raises(NotFound), job_factory.database.reading() as connection:
        jobs.get(connection, claim.job_id)
    assert keys(artifacts) == set()
