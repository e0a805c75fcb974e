"""Artifacts in a folder: files are stored atomically and durably, under their keys only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.artifacts import FolderArtifacts, sha256_of
from service.errors import StorageError
from tests.artifacts.store_tests import StoreTests


@pytest.fixture
def artifacts(tmp_path: Path) -> FolderArtifacts:
    return FolderArtifacts(tmp_path)


class TestFolder(StoreTests):
    @pytest.fixture
    def store(self, artifacts: FolderArtifacts) -> FolderArtifacts:
        return artifacts


def test_a_stored_file_can_be_read_and_replaced(artifacts: FolderArtifacts) -> None:
    artifacts.put("checkpoints/job_1/best", b"first")
    artifacts.put("checkpoints/job_1/best", b"second")

    assert artifacts.path("checkpoints/job_1/best").read_bytes() == b"second"
    assert sha256_of(artifacts.path("checkpoints/job_1/best")).startswith("16367aacb67a4a01")


def test_a_file_and_every_new_folder_are_synced_before_put_returns(
    artifacts: FolderArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(Path(f"/proc/self/fd/{handle}").readlink()), real(handle))
    )

    artifacts.put("a/b/c", b"x")

    assert synced[1:] == [tmp_path / "a/b", tmp_path / "a", tmp_path]


def test_a_failed_write_leaves_the_old_file_and_no_temporary_files(
    artifacts: FolderArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.put("key", b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        artifacts.put("key", b"new")

    assert artifacts.path("key").read_bytes() == b"old"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_delete_removes_empty_folders_and_is_idempotent(artifacts: FolderArtifacts) -> None:
    artifacts.put("checkpoints/job_1/best", b"x")

    for _ in range(2):
        artifacts.delete("checkpoints/job_1/best")

    assert not artifacts.path("checkpoints/job_1").exists()


def test_a_failed_delete_is_logged_and_returned(artifacts: FolderArtifacts, caplog: pytest.LogCaptureFixture) -> None:
    """A folder at the path cannot be unlinked, not even by root."""
    artifacts.path("checkpoints/job_1/best").mkdir(parents=True)

    assert not artifacts.delete("checkpoints/job_1/best")

    assert artifacts.path("checkpoints/job_1/best").exists()
    assert "could not remove checkpoints/job_1/best, retrying later" in caplog.text


def test_files_in_the_trash_keep_their_key_and_can_be_restored(artifacts: FolderArtifacts) -> None:
    artifacts.put("checkpoints/job_1/best", b"x")
    artifacts.put("checkpoints/job_2/best", b"y")

    for _ in range(2):
        assert artifacts.move_to_trash("checkpoints/job_1/best")

    assert [file.key for file in artifacts.files()] == ["checkpoints/job_2/best"]
    assert [(file.key, file.size_bytes) for file in artifacts.trash()] == [("trash/checkpoints/job_1/best", 1)]
    assert not artifacts.path("checkpoints/job_1").exists()


def test_unfinished_files_are_listed_and_can_be_removed(artifacts: FolderArtifacts) -> None:
    with artifacts.scratch() as folder:
        (folder / "upload").write_bytes(b"x")
        (name,) = artifacts.unfinished()

        assert artifacts.path(name) == folder
        for _ in range(2):
            assert artifacts.remove_unfinished(name)
        assert artifacts.unfinished() == []
        folder.mkdir()


def test_the_deployment_id_is_stored_in_the_folder(artifacts: FolderArtifacts, tmp_path: Path) -> None:
    assert artifacts.deployment_id() is None

    artifacts.set_deployment_id("dep_1")

    assert FolderArtifacts(tmp_path).deployment_id() == "dep_1"
    assert list(artifacts.files()) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b"])
def test_keys_cannot_escape_the_folder(artifacts: FolderArtifacts, key: str) -> None:
    with pytest.raises(ValueError, match="not an artifact key"):
        artifacts.path(key)
