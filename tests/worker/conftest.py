"""Fixtures of recorders, and of trainers that run in the tests' own process."""

from __future__ import annotations

from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from service.artifacts import Artifacts
from service.store.engine import Database
from service.store.jobs.claim import Claim
from service.worker import interruption
from service.worker import recorder as recorder_module
from service.worker.recorder import Recorder
from tests.store.records import claim, submit
from tests.worker.recorders import TextPacker, recorder_of


@pytest.fixture
def pipe() -> tuple[Connection, Connection]:
    """The supervisor's end and the trainer's end."""
    return Pipe()


@pytest.fixture(autouse=True)
def no_looks_within_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers look at their pipe at the end of epochs alone, which tests count, however slow the machine is."""
    monkeypatch.setattr(interruption, "LOOK_SECONDS", 60.0)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush and save after every epoch."""
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(recorder_module, "SAVING_SHARE", float("inf"))


@pytest.fixture
def publishing_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush and publish after every epoch."""
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(recorder_module, "PUBLISHING_SHARE", float("inf"))


@pytest.fixture
def claimed(database: Database) -> Claim:
    submit(database)
    return claim(database)[0]


@pytest.fixture
def recorder(database: Database, artifacts: Artifacts, claimed: Claim) -> Recorder:
    made = recorder_of(database, artifacts, claimed)
    made.start(TextPacker())
    return made
