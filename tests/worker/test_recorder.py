"""The recorder: what it writes and when, on both databases and a real folder."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import select

from service.artifacts import Artifacts, sha256_of
from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status
from service.errors import StorageError, Unavailable
from service.store import checkpoints, epochs
from service.store.engine import Database
from service.store.jobs import actions, attempt, leases
from service.store.jobs.claim import Claim
from service.store.jobs.events import NewEvent
from service.store.schema import garbage
from service.worker import recorder as recorder_module
from service.worker.attempt import Attempt, FlushResult
from service.worker.recorder import Recorder
from tests.store.records import claim, epoch, job
from tests.worker.recorders import TextPacker, add, files, finish, recorder_of


def test_states_are_saved_less_often_where_that_takes_long(
    database: Database, artifacts: Artifacts, claimed: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 0.0)
    saved = []

    class SlowPacker(TextPacker):
        def pack(self, number: int, attempt: Attempt, kind: CheckpointKind) -> bytes:
            assert attempt.last is not None
            saved.append(attempt.last.epoch)
            time.sleep(0.05)  # 1.5% of more than three seconds
            return super().pack(number, attempt, kind)

    recorder = recorder_of(database, artifacts, claimed, save_seconds=0.0, keep="state")
    recorder.start(SlowPacker())

    for number in range(1, 6):
        add(recorder, epoch(number, is_best=False))

    assert saved == [1]


def test_short_epochs_cost_no_transaction_each(database: Database, recorder: Recorder, claimed: Claim) -> None:
    for number in range(1, 20):
        add(recorder, epoch(number))

    with database.reading() as connection:
        assert epochs.read(connection, claimed.job_id) == []
    assert job(database, claimed.job_id).best is None


def test_the_end_publishes_everything(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim
) -> None:
    rows = [epoch(1), epoch(2), epoch(3, is_best=False, val_loss=9.0)]
    for row in rows:
        add(recorder, row)

    finish(recorder)

    ended = job(database, claimed.job_id)
    assert (ended.status, ended.progress.epoch) == (Status.succeeded, 3)
    assert ended.best is not None
    assert (ended.best.epoch, ended.best.value, ended.best.metrics) == (2, 0.5, rows[1].measured())
    with database.reading() as connection:
        assert epochs.read(connection, claimed.job_id) == rows
        best, last = checkpoints.find(connection, claimed.job_id)
    assert (best.epoch, last.epoch) == (2, 3)
    for checkpoint in (best, last):
        path = artifacts.path(checkpoint.path)
        assert path.read_text() == f"weights of epoch {checkpoint.epoch}"
        assert (sha256_of(path), path.stat().st_size) == (checkpoint.sha256, checkpoint.size_bytes)


def test_best_and_last_of_the_same_epoch_share_a_file(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim
) -> None:
    add(recorder, epoch(1))
    finish(recorder)

    with database.reading() as connection:
        best, last = checkpoints.find(connection, claimed.job_id)
    assert (best.kind, last.kind) == (CheckpointKind.best, CheckpointKind.last)
    assert best.path == last.path
    assert len(files(artifacts)) == 1


@pytest.mark.usefixtures("publishing_each_epoch")
def test_a_new_best_supersedes_the_previous_file_which_stays_for_backups(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim
) -> None:
    for number in (1, 2, 3):
        add(recorder, epoch(number))

    running = job(database, claimed.job_id)
    assert running.status is Status.running
    assert running.best is not None
    assert running.best.checkpoint is not None
    assert running.best.checkpoint.epoch == 3
    assert files(artifacts) == [f"1-best-{number}.safetensors" for number in (1, 2, 3)]
    assert garbage_of(database) == {f"checkpoints/{claimed.job_id}/1-best-{number}.safetensors" for number in (1, 2)}


def garbage_of(database: Database) -> set[str]:
    """What transactions have discarded."""
    with database.reading() as connection:
        return set(connection.scalars(select(garbage.c.name).where(garbage.c.discarded)))


@pytest.mark.usefixtures("publishing_each_epoch")
def test_a_flush_reports_a_request_to_cancel(database: Database, recorder: Recorder, claimed: Claim) -> None:
    with database.transaction() as connection:
        actions.cancel(connection, claimed.job_id)

    assert add(recorder, epoch(1)).cancelled == {0}


@pytest.mark.usefixtures("publishing_each_epoch")
def test_a_lost_lease_stops_every_write(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim
) -> None:
    with database.transaction() as connection:
        leases.record_crash(
            connection, claimed.job_id, 1, JobError(code=ErrorCode.worker_lost, message="taken for dead too early")
        )
    claim(database)

    assert add(recorder, epoch(1)).lost == {0}

    assert job(database, claimed.job_id).best is None
    assert garbage_of(database) == {f"checkpoints/{claimed.job_id}/{name}" for name in files(artifacts)}


@pytest.mark.usefixtures("publishing_each_epoch")
def test_training_continues_while_the_database_is_unavailable(
    database: Database, recorder: Recorder, claimed: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(attempt, "write", away)
        add(recorder, epoch(1))
    add(recorder, epoch(2))

    with database.reading() as connection:
        assert [row.epoch for row in epochs.read(connection, claimed.job_id)] == [1, 2]


@pytest.mark.usefixtures("publishing_each_epoch")
def test_no_files_are_written_while_the_database_is_unavailable(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(attempt, "write", away)
        for number in range(1, 6):
            add(recorder, epoch(number))
    during = files(artifacts)
    for number in (6, 7):
        add(recorder, epoch(number))

    assert during == ["1-best-1.safetensors"]
    best = job(database, claimed.job_id).best
    assert best is not None
    assert best.checkpoint is not None
    assert best.checkpoint.epoch == 7


@pytest.mark.usefixtures("publishing_each_epoch")
@pytest.mark.parametrize("there", [True, False])
def test_the_next_attempt_publishes_a_best_checkpoint_again_if_its_file_is_missing(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim, there: bool
) -> None:
    add(recorder, epoch(1))
    with database.transaction() as connection:
        published = checkpoints.get(connection, claimed.job_id, CheckpointKind.best)
        attempt.release(connection, claimed.job_id, 1)
    if not there:
        artifacts.delete(published.path)

    again = recorder_of(database, artifacts, claim(database)[0])
    (resumed,) = again.attempts
    resumed.resumed_after, resumed.best, resumed.published = 1, epoch(1), published
    resumed.events.append(NewEvent(claimed.job_id, EventKind.resumed, "resumed after epoch 1"))
    again.start(TextPacker())
    finish(again)

    with database.reading() as connection:
        best = checkpoints.get(connection, claimed.job_id, CheckpointKind.best)
    assert sha256_of(artifacts.path(best.path)) == best.sha256
    assert (best.path == published.path) == there


def test_a_full_disk_at_the_end_fails_the_job_and_keeps_the_history(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("the artifact store could not write: No space left on device")

    monkeypatch.setattr(artifacts, "put", full)
    add(recorder, epoch(1))

    finish(recorder)

    failed = job(database, claimed.job_id)
    assert failed.status is Status.failed
    assert failed.error is not None
    assert failed.error.code is ErrorCode.storage_error
    assert failed.progress.epoch == 1


def test_a_finish_whose_commit_was_not_acknowledged_keeps_its_files(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, tries = recorder._commit, []

    def cut_off(*arguments: Any) -> FlushResult:
        heard = commit(*arguments)
        tries.append(heard)
        if len(tries) == 1:
            raise Unavailable  # the connection broke after the commit
        return heard

    monkeypatch.setattr(recorder, "_commit", cut_off)
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", (0.0,))
    add(recorder, epoch(1))

    finish(recorder)

    with database.reading() as connection:
        best = checkpoints.get(connection, claimed.job_id, CheckpointKind.best)
    assert len(tries) == 2
    assert artifacts.path(best.path).exists()


@pytest.mark.usefixtures("publishing_each_epoch")
def test_losing_the_lease_at_the_end_keeps_the_published_best(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim
) -> None:
    add(recorder, epoch(1))
    with database.transaction() as connection:
        attempt.release(connection, claimed.job_id, 1)
    claim(database, "wrk_2")

    assert finish(recorder).lost == {0}

    assert files(artifacts) == ["1-best-1.safetensors"]


def test_the_best_is_published_even_if_the_last_cannot_be_written(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = artifacts.put

    def only_best(key: str, data: bytes) -> None:
        if "last" in key:
            raise StorageError("the artifact store could not write: No space left on device")
        put(key, data)

    monkeypatch.setattr(artifacts, "put", only_best)
    add(recorder, epoch(1))
    add(recorder, epoch(2, is_best=False))

    finish(recorder)

    failed = job(database, claimed.job_id)
    assert failed.status is Status.failed
    assert failed.best is not None
    assert failed.best.checkpoint is not None
