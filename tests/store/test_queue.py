"""The job queue: claims, leases and fenced writes, on both databases."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select, update

from service.domain.checkpoint import CheckpointKind
from service.domain.job import Job, JobError
from service.domain.status import Control, ErrorCode, Status, StopReason
from service.errors import LeaseLost
from service.store import checkpoints, epochs, schema
from service.store.engine import Database
from service.store.jobs import actions, attempt, leases
from service.store.jobs.attempt import AttemptRecord, Outcome, write
from service.store.jobs.claim import Claim, Claimant, claim_jobs
from service.store.jobs.leases import MAX_FAILURES
from tests.store.records import checkpoint, claim, epoch, job, publish, record, submit

CRASH = JobError(code=ErrorCode.worker_lost, message="it died", log_tail="Segmentation fault")


def claim_on(connection: Any, device: str) -> list[Claim]:
    return claim_jobs(connection, Claimant("wrk_2", {"cpu", device}, width=1, trainers=1), seconds=15.0)


def crash(database: Database, job_id: str, attempt: int) -> None:
    with database.transaction() as connection:
        leases.record_crash(connection, job_id, attempt, CRASH)


def test_claims_are_ordered_by_priority_and_age(database: Database) -> None:
    first, second, urgent = submit(database), submit(database), submit(database, priority=5)

    taken = [*claim(database), *claim(database)]

    assert [c.job_id for c in taken] == [urgent.id, first.id]
    assert job(database, second.id).status is Status.queued


def test_a_claim_starts_the_job_and_increments_its_attempt(database: Database) -> None:
    submitted = submit(database)

    (taken,) = claim(database, "wrk_7")

    running = job(database, submitted.id)
    assert (running.status, running.attempt, running.worker) == (Status.running, 1, "wrk_7")
    assert taken.spec == submitted.spec
    assert running.started_at is not None


def test_a_job_for_a_gpu_waits_for_a_worker_with_one(database: Database) -> None:
    wants_gpu = submit(database, device="cuda")

    assert claim(database) == []
    with database.transaction() as connection:
        assert [c.job_id for c in claim_on(connection, "cuda")] == [wants_gpu.id]


def test_concurrent_claims_take_each_job_once(database: Database) -> None:
    submitted = {submit(database).id for _ in range(60)}
    taken: list[str] = []

    def work(name: str) -> None:
        while claims := claim(database, name, width=3):
            taken.extend(c.job_id for c in claims)

    threads = [threading.Thread(target=work, args=(f"wrk_{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(taken) == Counter(submitted)


def test_writes_of_older_attempts_are_fenced_off(database: Database) -> None:
    submitted = submit(database)
    (old,) = claim(database)
    crash(database, submitted.id, old.attempt)
    (new,) = claim(database, "wrk_2")
    record(database, new, epoch(1))

    with pytest.raises(LeaseLost):
        record(database, old, epoch(1), epoch(2))
    with pytest.raises(LeaseLost), database.transaction() as connection:
        attempt.finish(connection, old.job_id, old.attempt, Outcome(Status.succeeded, StopReason.max_epochs))
    with pytest.raises(LeaseLost), database.transaction() as connection:
        attempt.release(connection, old.job_id, old.attempt)

    assert job(database, submitted.id).status is Status.running
    assert job(database, submitted.id).progress.epoch == 1


def test_epochs_are_recorded_with_best_epoch_and_progress(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)
    rows = [epoch(1), epoch(2, val_loss=None, non_finite=True, metrics={"val_accuracy": None})]

    assert record(database, taken, *rows) is None

    with database.reading() as connection:
        assert epochs.read(connection, submitted.id) == rows
        assert epochs.read(connection, submitted.id, after_epoch=1) == rows[1:]
        assert epochs.read(connection, submitted.id, limit=1) == rows[:1]
    running = job(database, submitted.id)
    assert (running.progress.epoch, running.progress.eta_seconds, running.device) == (2, 1.0, "cpu")
    assert running.best is not None
    assert (running.best.epoch, running.best.checkpoint) == (2, None)


def test_a_new_attempt_replaces_epochs_of_the_previous_one(database: Database) -> None:
    submitted = submit(database)
    (old,) = claim(database)
    record(database, old, *[epoch(n) for n in range(1, 6)])
    crash(database, submitted.id, old.attempt)
    (new,) = claim(database)

    record(database, new, epoch(1), epoch(2))

    with database.reading() as connection:
        assert [row.epoch for row in epochs.read(connection, submitted.id)] == [1, 2]
    assert job(database, submitted.id).progress.epoch == 2


def test_a_repeated_flush_is_idempotent(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)

    record(database, taken, epoch(1), epoch(2))
    record(database, taken, epoch(1), epoch(2))

    with database.reading() as connection:
        assert [row.epoch for row in epochs.read(connection, submitted.id)] == [1, 2]


def test_publishing_replaces_the_checkpoint_and_returns_the_old_key(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)
    assert publish(database, taken, checkpoint(CheckpointKind.best, 1)) == frozenset()
    assert publish(database, taken, checkpoint(CheckpointKind.best, 4)) == {"checkpoints/1"}

    with database.reading() as connection:
        best = checkpoints.get(connection, submitted.id, CheckpointKind.best)
    assert (best.epoch, best.download_url) == (4, f"/v1/jobs/{submitted.id}/checkpoints/best/download")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_thousand_files_are_published_at_once(database: Database) -> None:
    for seed in range(520):
        submit(database, seed=seed, architecture={"hidden": []})
    claims = claim(database, width=520)
    files = [[checkpoint(kind, 1) for kind in CheckpointKind] for _ in claims]

    with database.transaction() as connection:
        records = [AttemptRecord(c.job_id, c.attempt, published=own) for c, own in zip(claims, files, strict=True)]
        written = write(connection, "cpu", records)

    assert len(written.controls) == len(claims) == 520


def test_a_finished_job_never_changes_again(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)
    with database.transaction() as connection:
        attempt.finish(connection, submitted.id, 1, Outcome(Status.succeeded, StopReason.early_stopped, {"loss": 0.5}))
    ended = job(database, submitted.id)

    with pytest.raises(LeaseLost):
        record(database, taken, epoch(1))

    assert (ended.status, ended.stop_reason) == (Status.succeeded, StopReason.early_stopped)
    assert ended.test is not None
    assert ended.test.metrics == {"loss": 0.5}
    assert job(database, submitted.id) == ended
    assert claim(database) == []


def test_a_released_job_is_requeued_without_a_failure(database: Database) -> None:
    submitted = submit(database)
    claim(database)

    with database.transaction() as connection:
        attempt.release(connection, submitted.id, 1)

    waiting = job(database, submitted.id)
    assert (waiting.status, waiting.failures, waiting.worker) == (Status.queued, 0, None)
    assert claim(database)[0].attempt == 2


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
        assert leases.has_expired(connection)
    with database.transaction() as connection:
        assert leases.reap(connection) == 1

    assert job(database, lapses.id).status is Status.queued
    assert job(database, lapses.id).failures == 1
    assert job(database, renewed.id).status is Status.running
    with database.reading() as connection:
        assert not leases.has_expired(connection)


def test_a_trainer_learns_of_a_cancellation_at_the_next_flush(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)

    with database.transaction() as connection:
        asked = actions.cancel(connection, submitted.id)

    assert (asked.status, asked.control) == (Status.running, Control.cancel)
    assert record(database, taken, epoch(1)) is Control.cancel


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
        assert leases.reap(connection) == 1


def test_a_job_with_an_unreadable_spec_fails_without_blocking_others(database: Database) -> None:
    newer, fine = submit(database), submit(database, seed=1)
    with database.transaction() as connection:
        spec = fine.known_spec.model_dump(mode="json") | {"precision": "qubits"}
        connection.execute(update(schema.jobs).where(schema.jobs.c.id == newer.id).values(spec=spec))

    assert [c.job_id for c in claim(database, width=2)] == [fine.id]

    failed = job_row(database, newer.id)
    assert failed == ("failed", "invalid_spec")


def job_row(database: Database, job_id: str) -> tuple[str, str]:
    with database.reading() as connection:
        row = connection.execute(select(schema.jobs).where(schema.jobs.c.id == job_id)).one()
    return row.status, row.error["code"]


def test_a_worker_renews_only_its_own_leases(database: Database) -> None:
    forgotten = submit(database)
    claim(database, "wrk_1", seconds=0.05)
    with database.transaction() as connection:
        leases.renew(connection, "wrk_1", [], 15.0)
    time.sleep(0.1)

    with database.transaction() as connection:
        assert leases.reap(connection) == 1
    assert job(database, forgotten.id).status is Status.queued


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_concurrent_claims_skip_locked_jobs(database: Database) -> None:
    first, second = submit(database), submit(database, batch_size=7)

    with database.transaction() as connection:
        (one,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=15.0)
        (other,) = claim(database, "wrk_2")

    assert (one.job_id, other.job_id) == (first.id, second.id)
