"""Saved states: damaged, missing or of another version, and which files an ended job keeps."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.job import Forked
from service.domain.status import ErrorCode, Status
from service.maintenance.collector import Collector, RetentionPolicy
from service.maintenance.deployment_id import pair
from service.store import checkpoints
from service.store.engine import Database
from service.store.jobs import forks
from service.store.jobs import jobs as store_jobs
from service.training.snapshot import fingerprint
from service.worker import trainer
from tests.specs import synthetic
from tests.store.records import job, submit
from tests.worker.attempts import SPEC, Told, attempt, log, outcome, state

pytestmark = pytest.mark.usefixtures("eager")


def collected(database: Database, artifacts: Artifacts) -> None:
    """The grace period of replaced files is over, and they are gone."""
    pair(database, artifacts)
    Collector(database, artifacts, RetentionPolicy(grace_hours=0.0)).collect(threading.Event())


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
    monkeypatch.setattr(trainer, "fingerprint", lambda *job: {**fingerprint(*job), "torch": "99"})

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
        patch.setattr(trainer, "fingerprint", lambda *job: _without_engine(*job) | earlier)
        attempt(database, artifacts, Told(5))
    monkeypatch.setattr(trainer, "fingerprint", lambda *job: {**fingerprint(*job), "engine": "2"})

    attempt(database, artifacts, Told())

    assert outcome(database, submitted.id) == outcome(database, undisturbed.id)
    said = "starts over: another version of the engine, which rounds large networks differently, saved its state"
    assert (EventKind.resumed, said) in log(database, submitted.id)


def _without_engine(*job: Any) -> dict[str, str]:
    return {name: value for name, value in fingerprint(*job).items() if name != "engine"}


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
