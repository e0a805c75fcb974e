"""Submitting, finding and deleting jobs, on both databases."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status, StopReason
from service.errors import Conflict, IdempotencyMismatch, NotFound, QueueFull
from service.store import datasets, epochs
from service.store.engine import Database
from service.store.jobs import actions, attempt, jobs
from service.store.jobs.attempt import Outcome
from service.store.maintenance import garbage
from tests.specs import synthetic
from tests.store.records import checkpoint, claim, dataset, epoch, job, publish, record, submit


def finish(database: Database, job_id: str) -> None:
    with database.transaction() as connection:
        attempt.finish(connection, job_id, 1, Outcome(Status.succeeded, StopReason.max_epochs))


def test_a_submitted_job_is_queued_with_all_defaults(database: Database) -> None:
    resolved = synthetic(name="first", labels={"team": "a"}, max_epochs=7)

    with database.transaction(DEFAULT_TENANT) as connection:
        submitted, created = jobs.submit(connection, resolved, max_queued=10)

    assert created
    assert (submitted.status, submitted.queue_position, submitted.attempt) == (Status.queued, 1, 0)
    assert submitted.spec == resolved.spec
    assert (submitted.name, submitted.labels, submitted.progress.max_epochs) == ("first", {"team": "a"}, 7)
    assert job(database, submitted.id) == submitted


def test_the_queue_position_counts_jobs_ahead(database: Database) -> None:
    late, urgent = submit(database), submit(database, priority=1)

    assert job(database, urgent.id).queue_position == 1
    assert job(database, late.id).queue_position == 2


def test_a_full_queue_refuses(database: Database) -> None:
    submit(database)

    with pytest.raises(QueueFull, match="limited to 1 jobs"), database.transaction(DEFAULT_TENANT) as connection:
        jobs.submit(connection, synthetic(), max_queued=1)


def test_an_idempotency_key_returns_its_job_and_refuses_another_request(database: Database) -> None:
    def post(request: str) -> tuple[str, bool]:
        with database.transaction(DEFAULT_TENANT) as connection:
            given, created = jobs.submit(
                connection, synthetic(), max_queued=10, idempotency_key="night-1", request_sha256=request
            )
        return given.id, created

    first, created = post("request a")
    assert created
    assert post("request a") == (first, False)
    with pytest.raises(IdempotencyMismatch):
        post("request b")


def test_concurrent_submissions_with_one_key_create_one_job(database: Database) -> None:
    seen: list[tuple[str, bool]] = []

    def post() -> None:
        with database.transaction(DEFAULT_TENANT) as connection:
            given, created = jobs.submit(
                connection, synthetic(), max_queued=100, idempotency_key="k", request_sha256="r"
            )
        seen.append((given.id, created))

    threads = [threading.Thread(target=post) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 12
    assert len({job_id for job_id, _ in seen}) == 1
    assert sum(created for _, created in seen) == 1


def test_jobs_are_found_by_every_filter_newest_first(database: Database) -> None:
    plain = submit(database, name="one")
    odd = submit(database, name="two", labels={"a.b/c": 'say "hi"', "team": "x"})
    submit(database, name="two", labels={"team": "y"})

    with database.reading() as connection:
        assert [j.id for j in jobs.find(connection, jobs.JobFilter(labels={"a.b/c": 'say "hi"'}), limit=10)] == [odd.id]
        assert [j.id for j in jobs.find(connection, jobs.JobFilter(labels={"team": "x"}, name="two"), limit=10)] == [
            odd.id
        ]
        assert [j.id for j in jobs.find(connection, jobs.JobFilter(name="one"), limit=10)] == [plain.id]
        assert jobs.find(connection, jobs.JobFilter(status=Status.running), limit=10) == []
        newest = jobs.find(connection, limit=2)
        assert [j.id for j in jobs.find(connection, limit=2, after=newest[-1].id)] == [plain.id]


def test_jobs_of_other_tenants_are_not_found(database: Database) -> None:
    submitted = submit(database)

    with database.reading("other") as connection:
        assert jobs.find(connection, limit=10) == []
        with pytest.raises(NotFound):
            jobs.get(connection, submitted.id)


def test_a_queued_job_is_cancelled_at_once_and_cancel_is_idempotent(database: Database) -> None:
    submitted = submit(database)

    for _ in range(2):
        with database.transaction() as connection:
            cancelled = actions.cancel(connection, submitted.id)

    assert (cancelled.status, cancelled.stop_reason) == (Status.cancelled, StopReason.cancelled)
    assert claim(database) == []


def test_a_finished_job_cannot_be_cancelled(database: Database) -> None:
    submitted = submit(database)
    claim(database)
    finish(database, submitted.id)

    with pytest.raises(Conflict, match="already succeeded"), database.transaction() as connection:
        actions.cancel(connection, submitted.id)


def test_deletion_removes_the_history_and_leaves_files_to_the_collector(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)
    record(database, taken, epoch(1))
    publish(database, taken, checkpoint(CheckpointKind.best, 1))
    with pytest.raises(Conflict, match="running"), database.transaction() as connection:
        jobs.remove(connection, submitted.id)
    finish(database, submitted.id)

    with database.transaction() as connection:
        jobs.remove(connection, submitted.id)
        assert garbage.marks(connection, ["checkpoints/1"])["checkpoints/1"].discarded

    with database.reading() as connection:
        assert epochs.read(connection, submitted.id) == []
        with pytest.raises(NotFound):
            jobs.get(connection, submitted.id)


def test_every_change_increments_the_version(database: Database) -> None:
    submitted = submit(database)
    seen = []

    def look() -> None:
        with database.reading() as connection:
            seen.append(jobs.versions(connection, [submitted.id, "job_unknown"])[submitted.id])

    look()
    (taken,) = claim(database)
    look()
    record(database, taken, epoch(1))
    look()
    finish(database, submitted.id)
    look()

    assert [version for version, _ in seen] == sorted({version for version, _ in seen})
    assert [status for _, status in seen] == [Status.queued, Status.running, Status.running, Status.succeeded]


def test_a_job_refers_to_its_best_checkpoint(database: Database) -> None:
    submitted = submit(database)
    (taken,) = claim(database)
    record(database, taken, epoch(1), epoch(2))
    publish(database, taken, checkpoint(CheckpointKind.best, 2))

    best = job(database, submitted.id).best

    assert best is not None
    assert best.checkpoint is not None
    assert (best.checkpoint.epoch, best.checkpoint.path) == (2, "checkpoints/2")


def test_a_job_on_a_deleted_data_set_is_refused(database: Database) -> None:
    spec = {"kind": "dataset", "id": "ds_gone", "target": "y"}
    resolved = synthetic()
    data = type(resolved.spec).model_validate({"data": spec}).data
    orphan = resolved.__class__(**{**vars(resolved), "spec": resolved.spec.model_copy(update={"data": data})})

    with pytest.raises(NotFound, match="data set"), database.transaction(DEFAULT_TENANT) as connection:
        jobs.submit(connection, orphan, max_queued=10)


def test_a_data_set_in_use_cannot_be_deleted(database: Database) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset("ds_1"), path="datasets/ds_1", options="{}")
    resolved = synthetic()
    data = type(resolved.spec).model_validate({"data": {"kind": "dataset", "id": "ds_1", "target": "y"}}).data
    mine = resolved.__class__(**{**vars(resolved), "spec": resolved.spec.model_copy(update={"data": data})})
    with database.transaction(DEFAULT_TENANT) as connection:
        user, _ = jobs.submit(connection, mine, max_queued=10)

    with pytest.raises(Conflict, match=user.id), database.transaction() as connection:
        datasets.remove(connection, "ds_1")

    with database.transaction() as connection:
        actions.cancel(connection, user.id)
        datasets.remove(connection, "ds_1")
        assert garbage.marks(connection, ["datasets/ds_1"])["datasets/ds_1"].discarded
    assert job(database, user.id).spec == mine.spec


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_poll_costs_one_indexed_read(database: Database) -> None:
    submitted = submit(database)
    claim(database)
    with database.reading() as connection:
        statements: list[tuple[str, tuple[object, ...]]] = []
        event.listen(
            connection, "before_cursor_execute", lambda _c, _cursor, sql, values, *_: statements.append((sql, values))
        )
        jobs.get(connection, submitted.id)
        ((sql, values),) = [s for s in statements if s[0] != "BEGIN"]
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]

    assert all(step.startswith("SEARCH") for step in plan), plan
