"""Actions on live jobs: pause, resume, change, on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.job import Job, JobError
from service.domain.status import Control, ErrorCode, Status, StopReason
from service.errors import Conflict, LeaseLost, NotFound, QueueFull
from service.spec.job import JobChange
from service.store.engine import Database
from service.store.jobs import actions, attempt, jobs, leases
from service.store.jobs.attempt import Outcome
from tests.specs import synthetic
from tests.store.records import claim, epoch, job, record, resume, submit

CRASH = JobError(code=ErrorCode.worker_lost, message="it died")


def ask(database: Database, what: Callable[..., Job], job_id: str) -> Job:
    with database.transaction() as connection:
        return what(connection, job_id)


def release(database: Database, job_id: str, number: int = 1) -> None:
    with database.transaction() as connection:
        attempt.release(connection, job_id, number)


def finish(database: Database, job_id: str) -> None:
    with database.transaction() as connection:
        attempt.finish(connection, job_id, 1, Outcome(Status.succeeded, StopReason.max_epochs))


def test_a_queued_job_is_paused_at_once_and_not_claimed(database: Database) -> None:
    submitted = submit(database)

    for _ in range(2):
        assert ask(database, actions.pause, submitted.id).status is Status.paused

    assert claim(database) == []


def test_a_running_job_is_paused_when_its_worker_releases_it(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)

    asked = ask(database, actions.pause, submitted.id)
    assert (asked.status, asked.control) == (Status.running, Control.pause)
    assert record(database, taken, epoch(1)) is Control.pause
    release(database, submitted.id)

    paused = job(database, submitted.id)
    assert (paused.status, paused.control, paused.failures, paused.worker) == (Status.paused, None, 0, None)
    with pytest.raises(LeaseLost):
        record(database, taken, epoch(1), epoch(2))


def test_a_resumed_job_returns_to_its_old_position(database: Database) -> None:
    first, second = submit(database), submit(database)
    ask(database, actions.pause, first.id)

    for _ in range(2):
        assert ask(database, resume, first.id).queue_position == 1

    assert [c.job_id for c in claim(database)] == [first.id]
    assert job(database, second.id).status is Status.queued


def test_a_request_to_pause_can_be_withdrawn(database: Database) -> None:
    submitted = submit(database)
    claim(database)
    ask(database, actions.pause, submitted.id)

    resumed = ask(database, resume, submitted.id)

    assert (resumed.status, resumed.control) == (Status.running, None)


def test_a_crash_during_a_pending_pause_pauses_the_job(database: Database) -> None:
    submitted = submit(database)
    claim(database)
    ask(database, actions.pause, submitted.id)

    with database.transaction() as connection:
        leases.record_crash(connection, submitted.id, 1, CRASH)

    paused = job(database, submitted.id)
    assert (paused.status, paused.failures, paused.finished_at) == (Status.paused, 1, None)


def test_cancel_takes_precedence_over_pause(database: Database) -> None:
    submitted, waiting = submit(database), submit(database)
    claim(database)
    ask(database, actions.pause, submitted.id)
    ask(database, actions.pause, waiting.id)

    assert ask(database, actions.cancel, submitted.id).control is Control.cancel
    for what in (actions.pause, resume):
        with pytest.raises(Conflict, match="being cancelled"):
            ask(database, what, submitted.id)

    assert ask(database, actions.cancel, waiting.id).status is Status.cancelled
    release(database, submitted.id)
    assert job(database, submitted.id).status is Status.cancelled


@pytest.mark.parametrize("what", [actions.pause, resume])
def test_ended_jobs_cannot_be_paused_or_resumed(database: Database, what: Callable[..., Job]) -> None:
    submitted = submit(database)
    claim(database)
    finish(database, submitted.id)

    with pytest.raises(Conflict, match="has ended: it is succeeded"):
        ask(database, what, submitted.id)
    with pytest.raises(NotFound), database.transaction("other") as connection:
        what(connection, submitted.id)


def test_paused_jobs_count_towards_the_queue_limit(database: Database) -> None:
    ask(database, actions.pause, submit(database).id)

    with pytest.raises(QueueFull), database.transaction(DEFAULT_TENANT) as connection:
        jobs.submit(connection, synthetic(), max_queued=1)


def test_a_change_affects_only_the_given_fields(database: Database) -> None:
    submitted = submit(database, name="old", labels={"a": "1"})

    with database.transaction() as connection:
        renamed = actions.change(connection, submitted.id, JobChange(name=None))
        changed = actions.change(connection, submitted.id, JobChange(labels={"b": "2"}, priority=7))

    assert (renamed.name, renamed.labels, renamed.priority) == (None, {"a": "1"}, 0)
    assert (changed.name, changed.labels, changed.priority) == (None, {"b": "2"}, 7)
    assert (changed.spec, changed.queue_position) == (submitted.spec, 1)


def test_a_job_with_raised_priority_is_claimed_first(database: Database) -> None:
    submit(database)
    late = submit(database)

    with database.transaction() as connection:
        actions.change(connection, late.id, JobChange(priority=1))

    assert [c.job_id for c in claim(database)] == [late.id]


def test_an_ended_job_can_be_renamed_but_not_reprioritized(database: Database) -> None:
    submitted = submit(database)
    ask(database, actions.cancel, submitted.id)

    with database.transaction() as connection:
        assert actions.change(connection, submitted.id, JobChange(name="new")).name == "new"
    with pytest.raises(Conflict, match="has ended"), database.transaction() as connection:
        actions.change(connection, submitted.id, JobChange(name="newer", priority=1))
    assert job(database, submitted.id).name == "new"
