"""The trainer: a job on a table that it streams from disk, resumed, and what it says where there is no disk."""

from __future__ import annotations

from collections import namedtuple
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.store.engine import Database
from service.store.jobs import jobs
from service.training.progress import ProgressCounter
from service.worker import prepared_files
from service.worker.prepared_cache import PreparedCache
from service.worker.prepared_files import PreparedFiles
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer
from tests.data.tables import Stored
from tests.store.records import claim, job
from tests.worker.test_trainer_folds import upload
from tests.worker.trainers import outcome

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def stored(database: Database, artifacts: Artifacts, tmp_path: Path) -> Stored:
    """An uploaded table of 1,600 rows."""
    lines = [f"{i * 37 % 101},{'pqr'[i % 3]},{i % 5 // 2}" for i in range(1_600)]
    return upload(database, artifacts, tmp_path, "a,c,y\n" + "\n".join(lines) + "\n")


def submitted(database: Database, stored: Stored, seed: int = 0) -> str:
    data, fields = {"streaming": {"window_rows": 1_024}}, {"max_epochs": 6, "early_stopping": None}
    own: dict[str, Any] = {"split": {"test": 0.1}, "seed": seed}
    resolved = stored.resolve("y", data=data, **fields, **own)
    with database.transaction(DEFAULT_TENANT) as connection:
        return jobs.submit(connection, resolved, max_queued=1_000)[0].id


class Pipes:
    """Ends of a pipe; the trainer is told to stop after so many epochs."""

    def __init__(self, epochs: int = 0) -> None:
        self.supervisor, self.trainer = Pipe()
        self._left = epochs

    def poll(self) -> bool:
        self._left -= 1
        return self._left == 0


def run(database: Database, artifacts: Artifacts, folder: Path, epochs: int = 0, width: int = 1) -> None:
    """A trainer of its own, as after a restart; its worker's folder of files may have been lost."""
    folder.mkdir(exist_ok=True)
    policy = CheckpointPolicy(0.0, frozenset({"last", "state", "predictions"}))
    prepared, pipe = PreparedCache(PreparedFiles(folder), shared=False), Pipes(epochs)
    Trainer(database, artifacts, torch.device("cpu"), pipe, ProgressCounter(), policy, prepared).run(  # type: ignore[arg-type]
        claim(database, width=width)
    )


def test_a_streamed_job_that_moves_between_workers_ends_bit_identically(
    database: Database, artifacts: Artifacts, stored: Stored, tmp_path: Path
) -> None:
    undisturbed, disturbed = submitted(database, stored), submitted(database, stored)
    run(database, artifacts, tmp_path / "one")

    for place, epochs in (("two", 2), ("three", 3), ("three", 0)):
        run(database, artifacts, tmp_path / place, epochs)

    ended = job(database, disturbed)
    assert (ended.status, ended.attempt) == (Status.succeeded, 3)
    assert outcome(database, artifacts, disturbed) == outcome(database, artifacts, undisturbed)


def test_streamed_jobs_of_an_array_are_as_alone(
    database: Database, artifacts: Artifacts, stored: Stored, tmp_path: Path
) -> None:
    together = [submitted(database, stored, seed) for seed in (0, 1, 2)]
    run(database, artifacts, tmp_path / "files", width=3)

    alone = submitted(database, stored, 1)
    run(database, artifacts, tmp_path / "files")

    assert outcome(database, artifacts, together[1]) == outcome(database, artifacts, alone)
    assert len(list((tmp_path / "files").iterdir())) == 1


def test_a_job_whose_rows_do_not_fit_on_the_disk_fails_and_says_so(
    database: Database, artifacts: Artifacts, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = submitted(database, stored)
    monkeypatch.setattr(prepared_files.shutil, "disk_usage", lambda _: Usage(10, 10, 0))

    run(database, artifacts, tmp_path / "full")

    ended = job(database, failing)
    assert ended.status is Status.failed
    assert ended.error is not None
    assert ended.error.code == "storage_error"
    assert "the rows cannot be streamed" in ended.error.message
    assert not list((tmp_path / "full").iterdir())
