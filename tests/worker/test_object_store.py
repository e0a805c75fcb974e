"""Training with artifacts in an object store: the same bits as with a folder, and outages only delay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from service.artifacts import Artifacts
from service.artifacts.cache import FileCache
from service.artifacts.objects import ObjectArtifacts
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status
from service.errors import Unavailable
from service.store import checkpoints
from service.store.engine import Database
from service.worker import recorder as recorder_module
from service.worker.recorder import Recorder
from tests.store.records import claim, epoch, job, submit
from tests.worker.recorders import TextPacker, add, finish, recorder_of
from tests.worker.trainers import outcome, run, trainer

SPEC: dict[str, Any] = {"max_epochs": 6, "early_stopping": None}


@pytest.fixture
def objects(tmp_path: Path) -> ObjectArtifacts:
    return ObjectArtifacts(MemoryStore(), "memory://", FileCache(tmp_path / "cache", 2**30))


class Outage:
    """Lets so many calls of a method fail, then none."""

    def __init__(self, artifacts: Artifacts, method: str, failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real, self.failures = getattr(artifacts, method), failures
        monkeypatch.setattr(artifacts, method, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the artifact store does not answer")
        return self._real(*args, **kwargs)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", (0.0,))


@pytest.mark.parametrize("failures", [0, 5])
def test_a_job_has_the_bits_that_it_has_with_a_folder(
    database: Database,
    artifacts: Artifacts,
    objects: ObjectArtifacts,
    pipe: Any,
    failures: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [submit(database, **SPEC).id for _ in range(2)]
    run(database, artifacts, pipe)
    Outage(objects, "put", failures, monkeypatch)

    ended = run(database, objects, pipe)

    assert ended.status is Status.succeeded
    assert outcome(database, objects, ids[1]) == outcome(database, artifacts, ids[0])


@pytest.mark.usefixtures("publishing_each_epoch")
def test_during_an_outage_training_goes_on_and_epochs_are_recorded(
    database: Database, objects: ObjectArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(database).id
    (claimed,) = claim(database)
    recorder = recorder_of(database, objects, claimed)
    recorder.start(TextPacker())
    outage = Outage(objects, "put", 1_000, monkeypatch)

    for number in range(1, 4):
        add(recorder, epoch(number))

    assert job(database, job_id).progress.epoch == 3
    outage.failures = 2
    finish(recorder)
    with database.reading() as connection:
        best = checkpoints.get(connection, job_id, CheckpointKind.best)
    assert job(database, job_id).status is Status.succeeded
    assert objects.sha256(best.path) == best.sha256


def test_waiting_for_the_store_is_progress_to_the_watchdog(
    database: Database, objects: ObjectArtifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(database, **SPEC)
    (claimed,) = claim(database)
    seen: list[int] = []
    working = trainer(database, objects, pipe)
    Outage(objects, "put", 3, monkeypatch)
    real = Recorder._retry

    def noting(self: Recorder, write: Any) -> Any:
        before = working._progress.value
        found = real(self, write)
        seen.append(working._progress.value - before)
        return found

    monkeypatch.setattr(Recorder, "_retry", noting)

    working.run([claimed])

    assert sum(seen) == 3
