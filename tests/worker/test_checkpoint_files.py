"""The checkpoint files of several attempts are written at once."""

from __future__ import annotations

from threading import Barrier

import pytest

from service.artifacts import Artifacts
from service.errors import StorageError
from service.spec.job import JobSpec
from service.store.jobs.claim import Claim
from service.worker.attempt import Attempt
from service.worker.checkpoint_files import CheckpointFiles, write_concurrently
from service.worker.superseded_checkpoints import SupersededCheckpoints
from tests.store.records import epoch
from tests.worker.test_recorder import TextPacker


def attempts(number: int) -> dict[int, Attempt]:
    """Attempts whose first epoch is their best."""
    spec = JobSpec.model_validate({"data": {"kind": "synthetic", "rows": 100, "features": 2}})
    made = {place: Attempt(Claim(f"job_{place}", 1, spec)) for place in range(number)}
    for attempt in made.values():
        attempt.add(epoch(1))
    return made


def test_all_are_written_at_once_in_order() -> None:
    barrier = Barrier(3, timeout=20)

    def write(number: int, attempt: Attempt) -> str:
        barrier.wait()
        return f"{number} {attempt.claim.job_id}"

    assert list(write_concurrently(attempts(3), write)) == [(0, "0 job_0"), (1, "1 job_1"), (2, "2 job_2")]


def test_an_error_is_raised_after_all_that_were_written() -> None:
    found = list[tuple[int, str]]()

    def write(number: int, attempt: Attempt) -> str:
        if number in (1, 2):
            raise StorageError(f"full at {number}")
        return attempt.claim.job_id

    results = write_concurrently(attempts(4), write)
    with pytest.raises(StorageError, match="full at 1"):
        found.extend(results)

    assert found == [(0, "job_0"), (3, "job_3")]


def test_a_full_disk_gets_room_once_for_all(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    put, everyone = artifacts.put, Barrier(3, timeout=20)
    old = [f"checkpoints/job_old/1-best-{number}.safetensors" for number in range(2)]
    for key in old:
        put(key, b"superseded")
    waiting = {"job_0", "job_1", "job_2"}

    def full_until_there_is_room(key: str, data: bytes) -> None:
        if key.split("/")[1] in waiting:  # all fail before any of them tries again
            waiting.discard(key.split("/")[1])
            everyone.wait()
            raise StorageError("the artifact store could not write: No space left on device")
        if any(artifacts.path(each).exists() for each in old):
            raise StorageError("the artifact store could not write: No space left on device")
        put(key, data)

    monkeypatch.setattr(artifacts, "put", full_until_there_is_room)
    superseded = SupersededCheckpoints(artifacts)
    superseded.add(old)
    files = CheckpointFiles(artifacts, superseded, {"last"})
    files.packer = TextPacker()

    written = dict(write_concurrently(attempts(3), files.write_best))

    assert [each.epoch for files in written.values() for each in files] == [1, 1, 1]
    assert all(artifacts.path(each.path).exists() for files in written.values() for each in files)
