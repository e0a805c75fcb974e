"""Resuming attempts from a saved state: the result is bit-identical to an uninterrupted run."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from sqlalchemy import update

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.epoch import Epoch
from service.domain.event import EventKind
from service.domain.job import Forked, JobError
from service.domain.status import ErrorCode, Status
from service.maintenance.collector import Collector, RetentionPolicy
from service.maintenance.deployment_id import pair
from service.spec.graph import Graph
from service.store import checkpoints, epochs
from service.store.engine import Database
from service.store.jobs import actions, events, forks, leases
from service.store.jobs import jobs as store_jobs
from service.store.jobs.claim import Claim
from service.store.schema import jobs
from service.training.progress import ProgressCounter
from service.training.snapshot import fingerprint
from service.worker import recorder, trainer
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer
from tests.specs import synthetic
from tests.store.records import claim, job, submit

SPEC: dict[str, Any] = {"max_epochs": 12, "early_stopping": None, "architecture": {"hidden": [8], "dropout": 0.2}}


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush and save after every epoch."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(recorder, "SAVING_SHARE", float("inf"))


class Told:
    """A supervisor's end of the pipe that says "stop" after so many epochs; 0: never."""

    def __init__(self, epochs: int = 0) -> None:
        self._left = epochs

    def poll(self) -> bool:
        self._left -= 1
        return self._left == 0


class Gone(Told):
    """After so many epochs the process is gone."""

    def poll(self) -> bool:
        if super().poll():
            raise SystemExit
        return False


def attempt(
    database: Database, artifacts: Artifacts, pipe: Told, *, width: int = 1, keep: str = "last,state"
) -> list[Claim]:
    claims = claim(database, width=width)
    policy = CheckpointPolicy(0.0, frozenset(keep.split(",")))
    own = Trainer(database, artifacts, torch.device("cpu"), cast("Connection", pipe), ProgressCounter(), policy)
    try:
        own.run(claims)
    except SystemExit:
        error = JobError(code=ErrorCode.worker_lost, message="gone")
        with database.transaction() as connection:
            for each in claims:
                leases.record_crash(connection, each.job_id, each.attempt, error)
    return claims


def collected(database: Database, artifacts: Artifacts) -> None:
    """The grace period of replaced files is over, and they are gone."""
    pair(database, artifacts)
    Collector(database, artifacts, RetentionPolicy(grace_hours=0.0)).collect(threading.Event())


def outcome(database: Database, job_id: str) -> tuple[list[Epoch], dict[str, str]]:
    """The history but for its seconds, and the SHA-256 of each checkpoint."""
    with database.reading() as connection:
        rows = epochs.read(connection, job_id)
        files = checkpoints.find(connection, job_id)
    return [row.model_copy(update={"seconds": 0.0}) for row in rows], {file.kind: file.sha256 for file in files}


def state(database: Database, job_id: str) -> Checkpoint:
    with database.reading() as connection:
        return checkpoints.get(connection, job_id, CheckpointKind.state)


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


def log(database: Database, job_id: str) -> list[tuple[EventKind, str]]:
    """What its log says but for the best epochs."""
    with database.reading() as connection:
        found = events.read(connection, job_id, limit=100)
    return [(event.kind, event.message) for event in found if event.kind != EventKind.best]


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
            actions.resume(connection, job_id)
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


@pytest.mark.parametrize("damage", ["deleted", "changed", "truncated"])
def test_a_job_with_a_damaged_state_starts_over_with_the_same_result(
    database: Database, artifacts: Artifacts, damage: str
) -> None:
    undisturbed, disturbed = submit(database, **SPEC), submit(database, **SPEC)
    attempt(database, artifacts, Told())
    attempt(database, artifacts, Told(5))
    path = artifacts.path(state(database, disturbed.id).path)
    whole = path.read_bytes()
    match damage:
        case "deleted":
            path.unlink()
        case "changed":
            path.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
        case _:
            path.write_bytes(whole[:100])

    attempt(database, artifacts, Told())

    assert outcome(database, disturbed.id) == outcome(database, undisturbed.id)
    start_over = EventKind.resumed, "starts over: its saved state is missing or has changed"
    assert log(database, disturbed.id)[-2] == start_over


def test_a_fork_whose_saved_state_is_missing_fails(database: Database, artifacts: Artifacts) -> None:
    parent = submit(database, **SPEC)
    attempt(database, artifacts, Told())
    with database.transaction(DEFAULT_TENANT) as connection:
        source = forks.find(connection, parent.id, CheckpointKind.state)
        forked = Forked(job=parent.id, checkpoint="last", epoch=source.epoch)
        fork, _ = store_jobs.submit(connection, synthetic(**SPEC | {"max_epochs": 20}), max_queued=10, forked=forked)
        forks.attach(connection, fork.id, source, None)
    artifacts.path(state(database, fork.id).path).unlink()

    attempt(database, artifacts, Told())

    failed = job(database, fork.id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.failed, ErrorCode.checkpoint_corrupt)
    assert "the saved state that the fork resumes from" in failed.error.message


def test_a_resume_with_other_versions_is_logged(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = submit(database, **SPEC)
    attempt(database, artifacts, Told(5))
    monkeypatch.setattr(trainer, "fingerprint", lambda *network: {**fingerprint(*network), "torch": "99"})

    attempt(database, artifacts, Told())

    said = f"resumed after epoch 5 (perhaps not bit-identical: torch was {torch.__version__}, is 99)"
    assert (EventKind.resumed, said) in log(database, submitted.id)


@pytest.mark.parametrize("saved_by", ["1", None])
def test_a_job_whose_state_an_earlier_engine_saved_starts_over(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, saved_by: str | None
) -> None:
    undisturbed, submitted = (submit(database, **SPEC) for _ in range(2))
    attempt(database, artifacts, Told())
    earlier = {} if saved_by is None else {"engine": saved_by}
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "fingerprint", lambda *network: _without_engine(*network) | earlier)
        attempt(database, artifacts, Told(5))
    monkeypatch.setattr(trainer, "fingerprint", lambda *network: {**fingerprint(*network), "engine": "2"})

    attempt(database, artifacts, Told())

    assert outcome(database, submitted.id) == outcome(database, undisturbed.id)
    said = "starts over: another version of the engine, which rounds large networks differently, saved its state"
    assert (EventKind.resumed, said) in log(database, submitted.id)


def _without_engine(device: torch.device, graph: Graph) -> dict[str, str]:
    return {name: value for name, value in fingerprint(device, graph).items() if name != "engine"}


def test_a_crash_after_progress_counts_as_the_first(database: Database, artifacts: Artifacts) -> None:
    submitted = submit(database, **SPEC)

    for _ in range(4):
        attempt(database, artifacts, Gone(2))

    assert job(database, submitted.id).failures == 1
    assert job(database, submitted.id).status is Status.queued


def test_an_ended_job_keeps_one_state_and_no_older_file(database: Database, artifacts: Artifacts) -> None:
    submitted = submit(database, **SPEC)
    attempt(database, artifacts, Told(5))

    attempt(database, artifacts, Told())
    collected(database, artifacts)

    with database.reading() as connection:
        named = {
            state(database, submitted.id).path,
            *(file.path for file in checkpoints.find(connection, submitted.id)),
        }
    folder = artifacts.path("checkpoints") / submitted.id
    assert {path.name for path in folder.iterdir()} == {
        Path(key).name for key in named | {state(database, submitted.id).path}
    }
    assert state(database, submitted.id).epoch == 12


def test_checkpoints_that_are_not_kept_are_dropped_at_the_end(database: Database, artifacts: Artifacts) -> None:
    submitted = submit(database, **SPEC)
    attempt(database, artifacts, Told(5))

    attempt(database, artifacts, Told(), keep="none")
    collected(database, artifacts)

    with database.reading() as connection:
        (best,) = checkpoints.find(connection, submitted.id)
    assert best.kind is CheckpointKind.best
    folder = artifacts.path("checkpoints") / submitted.id
    assert [path.name for path in folder.iterdir()] == [Path(best.path).name]
