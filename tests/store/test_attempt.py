"""Fenced writes of attempts: epochs, checkpoints, releases and ends, on both databases."""

from __future__ import annotations

import pytest

from service.domain.checkpoint import CheckpointKind
from service.domain.status import Control, Status, StopReason
from service.errors import LeaseLost
from service.store import checkpoints, epochs
from service.store.engine import Database
from service.store.jobs import actions, attempt
from service.store.jobs.attempt import AttemptRecord, Outcome, write
from tests.store.records import checkpoint, claim, crash, epoch, job, publish, record, submit


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


def test_a_trainer_learns_of_a_cancellation_at_the_next_flush(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)

    with database.transaction() as connection:
        asked = actions.cancel(connection, submitted.id)

    assert (asked.status, asked.control) == (Status.running, Control.cancel)
    assert record(database, taken, epoch(1)) is Control.cancel
