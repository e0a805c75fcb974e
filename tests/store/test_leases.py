"""Leases and crashes: expiry, renewal and requeueing, on both databases."""

from __future__ import annotations

import time

import pytest

from service.domain.checkpoint import CheckpointKind
from service.domain.job import Job
from service.domain.status import Status, StopReason
from service.store.engine import Database
from service.store.jobs import actions, attempt, leases
from service.store.jobs.leases import MAX_FAILURES
from tests.store.records import CRASH, checkpoint, claim, crash, epoch, job, publish, record, submit


def test_the_third_crash_fails_the_job_with_the_error(database: Database) -> None:
    submitted = submit(database)

    for number in range(1, MAX_FAILURES + 1):
        assert job(database, submitted.id).status is Status.queued
        claim(database)
        crash(database, submitted.id, number)

    failed = job(database, submitted.id)
    message = "3 crashes without progress; the last: it died"
    assert (failed.status, failed.failures) == (Status.failed, MAX_FAILURES)
    assert failed.error == CRASH.model_copy(update={"message": message})
    assert failed.stop_reason is None
    assert failed.finished_at is not None


def crash_at(database: Database, job_id: str, *reached: int) -> Job:
    """Run one attempt per given epoch: record all epochs up to it, then crash."""
    for last in reached:
        (taken,) = claim(database)
        record(database, taken, *(epoch(number) for number in range(1, last + 1)))
        crash(database, job_id, taken.attempt)
    return job(database, job_id)


def test_progress_resets_the_count_of_crashes(database: Database) -> None:
    waiting = crash_at(database, submit(database).id, 5, 20, 40, 41)

    assert (waiting.status, waiting.attempt, waiting.failures) == (Status.queued, 4, 1)


def test_only_epochs_beyond_the_furthest_reset_the_count_of_crashes(database: Database) -> None:
    submitted = submit(database)

    assert crash_at(database, submitted.id, 12, 12).failures == 2
    assert crash_at(database, submitted.id, 13).failures == 1
    failed = crash_at(database, submitted.id, 5, 13)

    assert (failed.status, failed.failures) == (Status.failed, MAX_FAILURES)


def test_a_saved_state_of_an_earlier_epoch_is_no_progress(database: Database) -> None:
    submitted = submit(database)
    crash_at(database, submitted.id, 12)

    (taken,) = claim(database)
    record(database, taken, *(epoch(number) for number in range(1, 7)))
    publish(database, taken, checkpoint(CheckpointKind.state, 6))

    assert job(database, submitted.id).failures == 1


def test_jobs_with_expired_leases_are_requeued_and_renewed_ones_are_not(database: Database) -> None:
    lapses, renewed = submit(database), submit(database)
    claim(database, "wrk_dead", seconds=0.05)
    claim(database, "wrk_alive", seconds=0.05)
    with database.transaction() as connection:
        leases.renew(connection, "wrk_alive", [lapses.id, renewed.id], 15.0)
    time.sleep(0.1)

    with database.reading() as connection:
        left = leases.seconds_left(connection)
        assert left is not None
        assert left <= 0
    with database.transaction() as connection:
        assert leases.reap(connection) == 1

    assert job(database, lapses.id).status is Status.queued
    assert job(database, lapses.id).failures == 1
    assert job(database, renewed.id).status is Status.running
    with database.reading() as connection:
        left = leases.seconds_left(connection)
        assert left is not None
        assert 10 < left <= 15


@pytest.mark.parametrize("how", ["crash", "lapse", "release"])
def test_a_pending_cancellation_takes_effect_when_the_attempt_is_lost(database: Database, how: str) -> None:
    submitted = submit(database)
    claim(database, seconds=-1.0)
    with database.transaction() as connection:
        actions.cancel(connection, submitted.id)

    with database.transaction() as connection:
        if how == "crash":
            leases.record_crash(connection, submitted.id, 1, CRASH)
        elif how == "lapse":
            leases.reap(connection)
        else:
            attempt.release(connection, submitted.id, 1)

    ended = job(database, submitted.id)
    assert (ended.status, ended.stop_reason, ended.control) == (Status.cancelled, StopReason.cancelled, None)
    assert ended.error is None
    assert ended.finished_at is not None


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_lease_of_an_earlier_boot_has_expired(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(database)
    claim(database, seconds=3_600.0)

    monkeypatch.setattr("service.store.engine._boot_id", lambda: "after the reboot")

    with database.transaction() as connection:
        assert leases.seconds_left(connection) == 0
        assert leases.reap(connection) == 1


def test_a_worker_renews_only_its_own_leases(database: Database) -> None:
    forgotten = submit(database)
    claim(database, "wrk_1", seconds=0.05)
    with database.transaction() as connection:
        leases.renew(connection, "wrk_1", [], 15.0)
    time.sleep(0.1)

    with database.transaction() as connection:
        assert leases.reap(connection) == 1
    assert job(database, forgotten.id).status is Status.queued
