"""Temporary folders are removed after their process, also one that was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.worker.temporary_folder import TemporaryFolder

HOLDER = """
import sys
from service.worker.temporary_folder import TemporaryFolder
print(TemporaryFolder("test-rows-").path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_removed_at_the_end(parent: Path) -> None:
    folder = TemporaryFolder("test-rows-")
    (folder.path / "file").write_text("rows")

    assert (folder.path.parent, folder.path.stat().st_mode & 0o777) == (parent, 0o700)

    folder.close()

    assert list(parent.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_running_one_is_not(parent: Path) -> None:
    (parent / "test-rows-file").write_text("not a folder")
    (parent / "other").mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        held = Path(process.stdout.readline().strip())
        first = TemporaryFolder("test-rows-")
        (held / "file").write_text("rows")
        assert held.exists()

        process.kill()
        process.wait()
        second = TemporaryFolder("test-rows-")

    assert not held.exists()
    assert {path.name for path in parent.iterdir()} == {
        *("test-rows-file", "other", first.path.name, second.path.name),
    }
    first.close()
    second.close()
