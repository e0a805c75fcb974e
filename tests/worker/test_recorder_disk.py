"""The recorder on a disk that is full or fails, and which superseded files it deletes."""

from __future__ import annotations

import pytest

from service.artifacts import Artifacts
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status
from service.errors import StorageError
from service.store import checkpoints
from service.store.engine import Database
from service.store.jobs.claim import Claim
from service.worker.checkpoint_files import CheckpointFiles
from service.worker.recorder import Recorder
from service.worker.superseded_checkpoints import MIN_FILE_BYTES, SupersededCheckpoints
from tests.store.records import claim, epoch, job, submit
from tests.worker.recorders import TextPacker, add, files, finish, recorder_of


def bounded(database: Database, artifacts: Artifacts, claimed: Claim, most: int) -> Recorder:
    """A recorder that leaves so many replaced files."""
    made = recorder_of(database, artifacts, claimed, superseded_bytes=most * MIN_FILE_BYTES)
    made.start(TextPacker())
    return made


@pytest.mark.usefixtures("publishing_each_epoch")
def test_the_oldest_superseded_files_are_deleted_beyond_the_bound(
    database: Database, artifacts: Artifacts, claimed: Claim
) -> None:
    recorder = bounded(database, artifacts, claimed, most=2)

    for number in range(1, 6):
        add(recorder, epoch(number))

    assert files(artifacts) == [f"1-best-{number}.safetensors" for number in (3, 4, 5)]


@pytest.mark.usefixtures("publishing_each_epoch")
def test_superseded_files_are_deleted_when_the_disk_is_full(
    database: Database, artifacts: Artifacts, recorder: Recorder, claimed: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = artifacts.put

    def three_files_fit(key: str, data: bytes) -> None:
        if len(files(artifacts)) >= 3:
            raise StorageError("the artifact store could not write: No space left on device")
        put(key, data)

    monkeypatch.setattr(artifacts, "put", three_files_fit)

    for number in range(1, 5):
        add(recorder, epoch(number))

    best = job(database, claimed.job_id).best
    assert best is not None
    assert best.checkpoint is not None
    assert best.checkpoint.epoch == 4
    assert files(artifacts) == ["1-best-3.safetensors", "1-best-4.safetensors"]


@pytest.mark.usefixtures("publishing_each_epoch")
def test_a_replaced_file_that_cannot_be_removed_fails_no_job(
    database: Database, artifacts: Artifacts, claimed: Claim, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder in its place cannot be unlinked, by whomever."""
    recorder = bounded(database, artifacts, claimed, most=0)
    add(recorder, epoch(1))
    first = artifacts.path(f"checkpoints/{claimed.job_id}/1-best-1.safetensors")
    first.unlink()
    first.mkdir()

    add(recorder, epoch(2))
    finish(recorder)

    assert job(database, claimed.job_id).status is Status.succeeded
    assert first.exists()
    assert "1-best-1.safetensors, retrying later" in caplog.text


def recorder_of_three(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, fails: str
) -> tuple[Recorder, list[Claim]]:
    """A recorder of three jobs after an epoch, with a disk that rejects these files of the first job."""
    for _ in range(3):
        submit(database)
    claims = claim(database, width=3)
    files = CheckpointFiles(artifacts, SupersededCheckpoints(artifacts), {"last"})
    made = Recorder(database, files, "cpu", claims, save_seconds=10.0)
    made.start(TextPacker())
    put = artifacts.put

    def full(key: str, data: bytes) -> None:
        if key.startswith(f"checkpoints/{claims[0].job_id}/1-{fails}"):
            raise StorageError("the artifact store could not write: No space left on device")
        put(key, data)

    monkeypatch.setattr(artifacts, "put", full)
    for number in range(3):
        made.add(number, epoch(1))
    return made, claims


def named(database: Database, claims: list[Claim]) -> list[set[CheckpointKind]]:
    """The kinds of checkpoints of each job that the database names."""
    ids = [each.job_id for each in claims]
    kinds = CheckpointKind.best, CheckpointKind.state
    with database.reading() as connection:
        found = {kind: checkpoints.of_jobs(connection, ids, kind) for kind in kinds}
    return [{kind for kind in kinds if job_id in found[kind]} for job_id in ids]


@pytest.mark.usefixtures("publishing_each_epoch")
def test_files_that_fit_on_a_full_disk_are_published_and_only_the_others_are_tried_again(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, claims = recorder_of_three(database, artifacts, monkeypatch, fails="best")

    recorder.flush()
    recorder.flush()

    best = {CheckpointKind.best}
    assert named(database, claims) == [set(), best, best]
    assert len(files(artifacts)) == 2


@pytest.mark.parametrize(("fails", "saved"), [("state", {CheckpointKind.best}), ("best", {CheckpointKind.state})])
def test_requeued_jobs_keep_what_fits_on_a_full_disk(
    database: Database,
    artifacts: Artifacts,
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
    saved: set[CheckpointKind],
) -> None:
    recorder, claims = recorder_of_three(database, artifacts, monkeypatch, fails)

    recorder.release({0, 1, 2})

    both = {CheckpointKind.best, CheckpointKind.state}
    assert named(database, claims) == [saved, both, both]
    assert {job(database, each.job_id).status for each in claims} == {Status.queued}
    assert len(files(artifacts)) == 5
