"""Fixtures of trainers that run in the tests' own process."""

from __future__ import annotations

from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from service.worker import recorder


@pytest.fixture
def pipe() -> tuple[Connection, Connection]:
    """The supervisor's end and the trainer's end."""
    return Pipe()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush and save after every epoch."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(recorder, "SAVING_SHARE", float("inf"))
