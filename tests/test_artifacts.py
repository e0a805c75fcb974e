"""Bytes by key in a folder: what is put is there, whole, and nothing else is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from service.artifacts import ABANDONED_SECONDS, Artifacts, sha256_of
from service.errors import StorageError


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


def test_what_is_put_is_there_and_can_be_replaced(artifacts: Artifacts) -> None:
    artifacts.put("checkpoints/job_1/best", b"first")
    artifacts.put("checkpoints/job_1/best", b"second")

    assert artifacts.path("checkpoints/job_1/best").read_bytes() == b"second"
    assert sha256_of(artifacts.path("checkpoints/job_1/best")).startswith("16367aacb67a4a01")


def test_a_file_and_every_new_folder_are_synced_before_put_returns(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(Path(f"/proc/self/fd/{handle}").readlink()), real(handle))
    )

    artifacts.put("a/b/c", b"x")

    assert synced[1:] == [tmp_path / "a/b", tmp_path / "a", tmp_path]


def test_a_failed_write_leaves_the_old_file_and_no_scraps(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.put("key", b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        artifacts.put("key", b"new")

    assert artifacts.path("key").read_bytes() == b"old"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_deleting_takes_the_empty_folder_too_and_twice_is_fine(artifacts: Artifacts) -> None:
    artifacts.put("checkpoints/job_1/best", b"x")

    for _ in range(2):
        artifacts.delete("checkpoints/job_1/best")

    assert not artifacts.path("checkpoints/job_1").exists()


def test_only_old_scraps_are_tidied_away(artifacts: Artifacts, tmp_path: Path) -> None:
    old, young = tmp_path / "tmp/old", tmp_path / "tmp/young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "upload").write_bytes(b"x")
    before = time.time() - ABANDONED_SECONDS - 1
    os.utime(old, (before, before))

    artifacts.tidy()

    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b"])
def test_a_key_cannot_lead_outside(artifacts: Artifacts, key: str) -> None:
    with pytest.raises(ValueError, match="not an artifact key"):
        artifacts.path(key)
