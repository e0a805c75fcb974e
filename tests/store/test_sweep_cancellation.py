"""Cancelling a sweep cancels its jobs together, and no others, on both databases."""

from __future__ import annotations

import threading

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.status import Control, Status, StopReason
from service.domain.sweep import DecisionKind, NewDecision, SweepStatus
from service.errors import NotFound
from service.store import decisions, sweeps
from service.store.engine import Database
from service.store.jobs import actions, attempt, jobs
from service.store.jobs.attempt import Outcome
from tests.specs import synthetic
from tests.store.records import claim
from tests.store.sweep_records import counting, create, get, jobs_of, train


def test_cancelling_cancels_queued_jobs_and_requests_it_of_running_ones(database: Database) -> None:
    sweep = create(database, replicates=20)
    train(database, val_loss=0.5)
    (running,) = claim(database)

    with database.transaction() as connection, counting(connection) as statements:
        asked = sweeps.cancel(connection, sweep.id)

    assert (
        len(statements) == 8
    )  # the sweep, its jobs' locks, the jobs, two for their logs, the sweep, and two to read it
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


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_jobs_that_a_step_is_just_queueing_are_cancelled_with_their_sweep(database: Database) -> None:
    sweep = create(database, model="m")
    cancelled = threading.Event()

    def cancel() -> None:
        with database.transaction(DEFAULT_TENANT) as connection:
            sweeps.cancel(connection, sweep.id)
        cancelled.set()

    with database.transaction(DEFAULT_TENANT) as connection:
        decisions.take(connection, sweep.id, 0, [NewDecision(DecisionKind.proposed, "by TPE", trial=2)])
        row = {**jobs.new_row(synthetic(), DEFAULT_TENANT, trial=2), "sweep_id": sweep.id, "point": {}}
        jobs.add(connection, [row])
        thread = threading.Thread(target=cancel)
        thread.start()
        assert not cancelled.wait(0.5), "it waits for the step"
    thread.join()

    assert {status: n for status, n in get(database, sweep).counts.items() if n} == {"cancelled": 2}
