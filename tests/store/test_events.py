"""The event log of a job has each event once and in order, on both databases."""

from __future__ import annotations

import pytest

from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status, StopReason
from service.errors import LeaseLost
from service.spec.job import JobChange
from service.store.engine import Database
from service.store.jobs import actions, attempt, events, jobs, leases
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from tests.store.records import checkpoint, claim, epoch, resume, submit

CRASH = JobError(code=ErrorCode.out_of_memory, message="it died")


def log(database: Database, job_id: str) -> list[tuple[EventKind, int, str]]:
    with database.reading() as connection:
        found = events.read(connection, job_id, limit=100)
    assert [event.number for event in found] == list(range(1, len(found) + 1))
    return [(event.kind, event.attempt, event.message) for event in found]


def test_events_from_submission_to_end(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database, "wrk_7")
    best = BestSoFar(1, 0.5, {"val_loss": 0.5})
    done = Outcome(Status.succeeded, StopReason.early_stopped)
    with database.transaction() as connection:
        files = [checkpoint(CheckpointKind.best, 1), checkpoint(CheckpointKind.last, 1)]
        write(connection, "cpu", [AttemptRecord(submitted.id, 1, [epoch(1)], best, published=files, outcome=done)])

    assert log(database, submitted.id) == [
        (EventKind.queued, 0, "submitted"),
        (EventKind.claimed, 1, "claimed by wrk_7"),
        (EventKind.best, 1, "best checkpoint of epoch 1 published"),
        (EventKind.ended, 1, "succeeded: early stopped"),
    ]
    assert taken.job_id == submitted.id


def test_crash_events_have_the_error(database: Database) -> None:
    submitted = submit(database)
    for number in (1, 2, 3):
        claim(database)
        with database.transaction() as connection:
            leases.record_crash(connection, submitted.id, number, CRASH)

    kinds = [(kind, message) for kind, _, message in log(database, submitted.id) if kind != EventKind.claimed]
    again = (EventKind.retried, "queued again: it died")
    last = (EventKind.ended, "failed: 3 crashes without progress; the last: it died")
    assert kinds == [(EventKind.queued, "submitted"), again, again, last]


def test_every_crash_event_has_the_tail_of_the_trainer_log(database: Database) -> None:
    failing, cancelled, paused = (submit(database).id for _ in range(3))
    for number in (1, 2, 3):
        claimed = [each.job_id for each in (*claim(database), *claim(database), *claim(database))]
        with database.transaction() as connection:
            if number == 1:
                actions.cancel(connection, cancelled)
                actions.pause(connection, paused)
            for job_id in claimed:
                error = CRASH.model_copy(update={"log_tail": f"dump {number} of {job_id}"})
                leases.record_crash(connection, job_id, number, error)

    def tails(job_id: str) -> list[tuple[EventKind, str]]:
        with database.reading() as connection:
            found = events.read(connection, job_id, limit=100)
        return [(event.kind, event.details["log_tail"]) for event in found if "log_tail" in event.details]

    kinds = EventKind.retried, EventKind.retried, EventKind.ended
    assert tails(failing) == [(kind, f"dump {number} of {failing}") for number, kind in enumerate(kinds, start=1)]
    assert tails(cancelled) == [(EventKind.ended, f"dump 1 of {cancelled}")]
    assert tails(paused) == [(EventKind.paused, f"dump 1 of {paused}")]


def test_requests_are_logged_only_if_they_change_something(database: Database) -> None:
    submitted = submit(database)
    with database.transaction() as connection:
        for ask in (actions.pause, actions.pause, resume, resume):
            ask(connection, submitted.id)
    claim(database)
    with database.transaction() as connection:
        for ask in (actions.pause, resume, actions.pause):
            ask(connection, submitted.id)
        attempt.release(connection, submitted.id, 1)
        actions.change(connection, submitted.id, JobChange(priority=3))
        actions.change(connection, submitted.id, JobChange())
        actions.cancel(connection, submitted.id)
        actions.cancel(connection, submitted.id)

    assert [message for _, _, message in log(database, submitted.id)] == [
        *("submitted", "paused", "resumed: queued again", "claimed by wrk_1"),
        *("pausing at the end of the epoch", "request to pause withdrawn", "pausing at the end of the epoch"),
        *("paused after epoch 0", "priority is now 3", "cancelled"),
    ]


def test_a_stopping_worker_releases_its_job(database: Database) -> None:
    submitted = submit(database)
    claim(database)
    with database.transaction() as connection:
        attempt.release(connection, submitted.id, 1)

    assert log(database, submitted.id)[-1] == (EventKind.released, 1, "requeued after epoch 0: worker stopping")


def test_an_attempt_that_lost_its_lease_logs_nothing(database: Database) -> None:
    submitted = submit(database)
    claim(database)
    with database.transaction() as connection:
        leases.record_crash(connection, submitted.id, 1, CRASH)
    claim(database)
    before = log(database, submitted.id)

    for write_late in (
        lambda connection: attempt.release(connection, submitted.id, 1),
        lambda connection: leases.record_crash(connection, submitted.id, 1, CRASH),
        lambda connection: attempt.finish(connection, submitted.id, 1, Outcome(Status.succeeded)),
    ):
        with pytest.raises(LeaseLost), database.transaction() as connection:
            write_late(connection)
    with database.transaction() as connection:
        done = Outcome(Status.succeeded, StopReason.max_epochs)
        write(connection, "cpu", [AttemptRecord(submitted.id, 1, [epoch(1)], outcome=done)])

    assert log(database, submitted.id) == before


def test_events_are_paged(database: Database) -> None:
    submitted = submit(database)
    claim(database)

    with database.reading() as connection:
        (first,) = events.read(connection, submitted.id, limit=1)
        (second,) = events.read(connection, submitted.id, after=first.number, limit=10)

    assert (first.number, second.number, second.details) == (1, 2, {"worker": "wrk_1"})


def test_events_are_deleted_with_their_job(database: Database) -> None:
    submitted = submit(database)
    with database.transaction() as connection:
        actions.cancel(connection, submitted.id)
        jobs.remove(connection, submitted.id)

    assert log(database, submitted.id) == []
