"""Resuming attempts from a saved state: the result is bit-identical to an uninterrupted run."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from service.artifacts import Artifacts
from service.domain.event import EventKind
from service.domain.status import Status
from service.store.engine import Database
from service.store.jobs import actions
from service.store.schema import jobs
from service.worker import recorder
from tests.store.records import claim, job, submit
from tests.worker.attempts import SPEC, Gone, Told, attempt, log, outcome, state

pytestmark = pytest.mark.usefixtures("eager")


def test_a_job_stopped_several_times_is_bit_identical_to_an_uninterrupted_run(
    database: Database, artifacts: Artifacts
) -> None:
    undisturbed, disturbed = submit(database, **SPEC), submit(database, **SPEC)
    attempt(database, artifacts, Told())

    for reached, count in ((1, 1), (5, 4), (7, 2)):
        attempt(database, artifacts, Told(count))
        waiting = job(database, disturbed.id)
        assert (waiting.status, waiting.progress.epoch) == (Status.queued, reached)
    attempt(database, artifacts, Told())

    ended = job(database, disturbed.id)
    assert (ended.status, ended.attempt, ended.failures) == (Status.succeeded, 4, 0)
    assert outcome(database, disturbed.id) == outcome(database, undisturbed.id)


def test_members_stopped_at_different_epochs_resume_as_one_array(database: Database, artifacts: Artifacts) -> None:
    seeds = [0, 1, 2, 3]
    undisturbed = [submit(database, seed=seed, **SPEC).id for seed in seeds]
    attempt(database, artifacts, Told(), width=4)
    disturbed = [submit(database, seed=seed, **SPEC).id for seed in seeds]
    attempt(database, artifacts, Told(3), width=2)
    with database.transaction() as connection:  # so that the next two are next
        for job_id in disturbed[:2]:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(priority=-1))
    attempt(database, artifacts, Told(5), width=2)

    claims = attempt(database, artifacts, Told(), width=4)

    assert {claim.job_id for claim in claims} == {*disturbed}
    for one, other in zip(undisturbed, disturbed, strict=True):
        assert outcome(database, one) == outcome(database, other)


class Asked(Told):
    """After so many epochs a client asks for these jobs to be paused; each leaves at the end of the next one."""

    def __init__(self, epochs: int, database: Database, job_ids: list[str]) -> None:
        super().__init__(epochs)
        self._database, self._job_ids = database, job_ids

    def poll(self) -> bool:
        if super().poll():
            with self._database.transaction() as connection:
                for job_id in self._job_ids:
                    actions.pause(connection, job_id)
        return False


def test_paused_members_leave_the_array_and_resume_bit_identically(database: Database, artifacts: Artifacts) -> None:
    seeds = [0, 1, 2]
    undisturbed = [submit(database, seed=seed, **SPEC).id for seed in seeds]
    attempt(database, artifacts, Told(), width=3)
    disturbed = [submit(database, seed=seed, **SPEC).id for seed in seeds]
    aside = [disturbed[0], disturbed[2]]

    attempt(database, artifacts, Asked(4, database, aside), width=3)

    found = [job(database, job_id) for job_id in disturbed]
    assert [each.status for each in found] == [Status.paused, Status.succeeded, Status.paused]
    assert [(each.progress.epoch, each.failures) for each in found] == [(5, 0), (12, 0), (5, 0)]
    assert claim(database) == []
    for job_id in aside:
        with database.transaction() as connection:
            actions.resume(connection, job_id, max_queued=1_000)
    attempt(database, artifacts, Told(), width=3)
    for one, other in zip(undisturbed, disturbed, strict=True):
        assert outcome(database, one) == outcome(database, other)
    assert log(database, aside[0])[2:-1] == [
        (EventKind.pause_requested, "pausing at the end of the epoch"),
        (EventKind.paused, "paused after epoch 5"),
        (EventKind.queued, "resumed: queued again"),
        (EventKind.claimed, "claimed by wrk_1"),
        (EventKind.resumed, "resumed after epoch 5 (bit-identical)"),
    ]


def test_rows_past_the_saved_state_are_deleted_and_the_best_with_them(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, disturbed = submit(database, **SPEC), submit(database, **SPEC)
    attempt(database, artifacts, Told())
    attempt(database, artifacts, Told(3))
    monkeypatch.setattr(recorder, "SAVING_SHARE", 1e-9)  # no state is due any more, rows and best are
    attempt(database, artifacts, Gone(6))
    lost = job(database, disturbed.id)
    assert (lost.status, lost.progress.epoch, state(database, lost.id).epoch) == (Status.queued, 9, 4)
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 100.0)  # what is seen then is what the attempt began with

    attempt(database, artifacts, Gone(1))

    back = job(database, disturbed.id)
    expected = outcome(database, undisturbed.id)[0][:4]
    assert (back.progress.epoch, outcome(database, back.id)[0]) == (4, expected)
    assert back.best is not None
    assert back.best.epoch == max(row.epoch for row in expected if row.is_best)
    attempt(database, artifacts, Told())
    assert outcome(database, disturbed.id) == outcome(database, undisturbed.id)


def test_a_crash_after_progress_counts_as_the_first(database: Database, artifacts: Artifacts) -> None:
    submitted = submit(database, **SPEC)

    for _ in range(4):
        attempt(database, artifacts, Gone(2))

    assert job(database, submitted.id).failures == 1
    assert job(database, submitted.id).status is Status.queued
