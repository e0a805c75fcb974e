"""Jobs with a limit of epochs: released at it, promoted, pruned and revived, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.job import Job
from service.domain.status import Status, StopReason
from service.errors import Conflict, QueueFull
from service.spec.job import EPOCH_LIMIT_VERSION
from service.store import checkpoints, datasets, sweeps
from service.store.engine import Database
from service.store.jobs import actions, attempt, events, jobs
from service.store.maintenance import integrity
from service.store.schema import jobs as jobs_table
from service.store.schema import sweeps as sweeps_table
from tests.store import sweep_records
from tests.store.records import checkpoint, claim, dataset, epoch, job, publish, record, resume, submit, submit_limited


def trained(database: Database, epochs: int, epoch_limit: int) -> Job:
    """A job with this limit, released after these epochs."""
    submitted = submit_limited(database, epoch_limit)
    (taken,) = claim(database)
    record(database, taken, *(epoch(number) for number in range(1, epochs + 1)))
    publish(database, taken, checkpoint(CheckpointKind.best, epochs), checkpoint(CheckpointKind.state, epochs))
    with database.transaction() as connection:
        attempt.release(connection, taken.job_id, taken.attempt)
    return job(database, submitted.id)


def in_sweep(database: Database, job_id: str, *, pending: bool) -> None:
    """Make the job one of a sweep."""
    sweep = sweep_records.create(database)
    with database.transaction(DEFAULT_TENANT) as connection:
        sweeps.cancel(connection, sweep.id)  # so that its own job is not claimed
        connection.execute(update(sweeps_table).values(pending=pending))
        connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(sweep_id=sweep.id))


def promote(database: Database, job_id: str, epoch_limit: int | None) -> int:
    with database.transaction(DEFAULT_TENANT) as connection:
        return actions.promote(connection, [job_id], epoch_limit)


def prune(database: Database, job_id: str) -> int:
    with database.transaction(DEFAULT_TENANT) as connection:
        return actions.prune(connection, [job_id], "pruned: not among the best 4 of 16 at epoch 3")


def log(database: Database, job_id: str) -> list[tuple[EventKind, str]]:
    with database.reading() as connection:
        return [(event.kind, event.message) for event in events.read(connection, job_id, limit=100)]


def test_a_job_with_a_limit_needs_a_worker_that_knows_limits(database: Database) -> None:
    limited, plain = submit_limited(database, 3), submit(database)

    with database.reading() as connection:
        versions = {row.id: row.spec_version for row in connection.execute(select(jobs_table))}
    assert versions == {limited.id: EPOCH_LIMIT_VERSION, plain.id: 1}
    assert (limited.trial, limited.epoch_limit) == (1, 3)
    assert (plain.trial, plain.epoch_limit) == (None, None)
    assert [taken.epoch_limit for taken in claim(database, width=2)] == [3, None]


def test_a_job_released_at_its_limit_is_paused_and_before_it_queued(database: Database) -> None:
    at, before = trained(database, 3, epoch_limit=3), trained(database, 2, epoch_limit=3)

    assert (at.status, at.worker, at.failures, before.status) == (Status.paused, None, 0, Status.queued)
    assert log(database, at.id)[-1] == (EventKind.paused, "paused after epoch 3, its limit until its sweep decides")


def test_a_job_that_waits_at_its_limit_cannot_be_resumed_but_cancelled(database: Database) -> None:
    waiting = trained(database, 3, epoch_limit=3)
    in_sweep(database, waiting.id, pending=True)

    with pytest.raises(Conflict, match="at its epoch limit, 3, until its sweep"), database.transaction() as connection:
        resume(connection, waiting.id)
    with database.transaction() as connection:
        assert actions.cancel(connection, waiting.id).status is Status.cancelled


def test_a_job_at_its_limit_trains_to_its_end_once_its_sweep_decides_nothing_more(database: Database) -> None:
    waiting = trained(database, 3, epoch_limit=3)
    in_sweep(database, waiting.id, pending=False)

    with database.transaction() as connection:
        resumed = resume(connection, waiting.id)

    assert (resumed.status, resumed.epoch_limit) == (Status.queued, None)


def test_a_job_that_a_client_paused_before_its_limit_can_be_resumed(database: Database) -> None:
    queued = trained(database, 2, epoch_limit=3)

    with database.transaction() as connection:
        actions.pause(connection, queued.id)
        assert resume(connection, queued.id).status is Status.queued


def test_promoted_jobs_are_queued_with_a_larger_limit_or_none(database: Database) -> None:
    some, all_ = trained(database, 3, epoch_limit=3), trained(database, 3, epoch_limit=3)

    assert promote(database, some.id, 9) == promote(database, all_.id, None) == 1

    assert (job(database, some.id).status, job(database, some.id).epoch_limit) == (Status.queued, 9)
    assert (job(database, all_.id).status, job(database, all_.id).epoch_limit) == (Status.queued, None)
    assert log(database, some.id)[-1] == (EventKind.promoted, "promoted: trains on to epoch 9")
    assert log(database, all_.id)[-1] == (EventKind.promoted, "promoted: trains on to the end")


def test_only_jobs_that_wait_at_a_smaller_limit_are_promoted(database: Database) -> None:
    at, before = trained(database, 3, epoch_limit=3), trained(database, 2, epoch_limit=3)

    assert promote(database, at.id, 3) == promote(database, before.id, 9) == 0
    assert promote(database, at.id, 9) == 1
    assert promote(database, at.id, 9) == 0


def test_a_pruned_job_has_ended_and_keeps_its_checkpoints(database: Database) -> None:
    waiting = trained(database, 3, epoch_limit=3)

    assert prune(database, waiting.id) == 1
    assert prune(database, waiting.id) == 0

    pruned = job(database, waiting.id)
    assert (pruned.status, pruned.stop_reason, pruned.epoch_limit) == (Status.pruned, StopReason.pruned, 3)
    assert pruned.finished_at is not None
    assert pruned.best is not None
    assert pruned.best.checkpoint is not None
    with database.reading() as connection:
        assert checkpoints.of_jobs(connection, [waiting.id], CheckpointKind.state)[waiting.id].epoch == 3
    assert log(database, waiting.id)[-1] == (EventKind.ended, "pruned: not among the best 4 of 16 at epoch 3")
    for what in (actions.pause, actions.cancel):
        with pytest.raises(Conflict, match="pruned"), database.transaction() as connection:
            what(connection, waiting.id)


def test_running_and_ended_jobs_are_not_pruned(database: Database) -> None:
    running = submit_limited(database, 3)
    claim(database)
    ended = submit_limited(database, 3)
    with database.transaction() as connection:
        actions.cancel(connection, ended.id)

    assert prune(database, running.id) == prune(database, ended.id) == 0


def test_a_revived_job_is_queued_at_its_old_position_without_a_limit(database: Database) -> None:
    waiting = trained(database, 3, epoch_limit=3)
    prune(database, waiting.id)
    later = submit(database)

    with database.transaction() as connection:
        revived = resume(connection, waiting.id)

    assert (revived.status, revived.epoch_limit, revived.queue_position) == (Status.queued, None, 1)
    assert (revived.stop_reason, revived.finished_at) == (None, None)
    assert log(database, waiting.id)[-1] == (EventKind.revived, "revived: queued again, without epoch limit")
    assert [taken.job_id for taken in claim(database, width=2)] == [waiting.id, later.id]


def test_a_revived_job_counts_towards_the_queue_limit(database: Database) -> None:
    waiting = trained(database, 3, epoch_limit=3)
    prune(database, waiting.id)
    submit(database)

    with pytest.raises(QueueFull), database.transaction(DEFAULT_TENANT) as connection:
        actions.resume(connection, waiting.id, max_queued=1)


def test_a_pruned_job_is_not_revived_while_its_sweep_has_decisions_due(database: Database) -> None:
    waiting = trained(database, 3, epoch_limit=3)
    prune(database, waiting.id)
    in_sweep(database, waiting.id, pending=True)

    with pytest.raises(Conflict, match="sweep still searches"), database.transaction() as connection:
        resume(connection, waiting.id)
    assert job(database, waiting.id).status is Status.pruned


def test_a_pruned_job_without_its_data_set_is_not_revived(database: Database) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset(), path="a", options="{}")
    waiting = trained(database, 3, epoch_limit=3)
    with database.transaction(DEFAULT_TENANT) as connection:  # as if it had trained on the data set
        spec = {**waiting.known_spec.model_dump(mode="json"), "data": {"kind": "dataset", "id": "ds_1", "target": "a"}}
        these = update(jobs_table).where(jobs_table.c.id == waiting.id)
        connection.execute(these.values(dataset_id="ds_1", spec=spec))
    prune(database, waiting.id)

    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.remove(connection, "ds_1")

    with pytest.raises(Conflict, match="its data set was deleted"), database.transaction() as connection:
        resume(connection, waiting.id)


def test_a_pruned_job_can_be_deleted(database: Database) -> None:
    waiting = trained(database, 3, epoch_limit=3)
    prune(database, waiting.id)

    with database.transaction(DEFAULT_TENANT) as connection:
        jobs.remove(connection, waiting.id)
        assert jobs.find(connection, limit=10) == []


def test_pruned_and_revived_jobs_are_intact(database: Database) -> None:
    pruned, revived = trained(database, 3, epoch_limit=3), trained(database, 3, epoch_limit=3)
    for each in (pruned, revived):
        prune(database, each.id)
    with database.transaction() as connection:
        resume(connection, revived.id)

    with database.reading() as connection:
        assert list(integrity.job_states(connection)) == []
        assert list(integrity.event_logs(connection)) == []
