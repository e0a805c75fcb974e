"""What the process that reads a connection may answer: it has the network, so its answer is checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.connections.fetch import checked
from service.connections.messages import Fetched, FetchedFile
from service.errors import SourceError


def answer(local: Path, size: int = 3) -> object:
    file = FetchedFile(path="a.csv", size_bytes=size, sha256="0" * 64, local=local)
    return Fetched(files=[file]).model_dump(mode="json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, beside a secret one."""
    folder = tmp_path / "fetched"
    (folder / "deep").mkdir(parents=True)
    (folder / "source0").write_text("abc")
    (folder / "deep/source0").write_text("abc")
    (tmp_path / "secret").write_text("abc")
    (folder / "link").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", folder / "hard")
    os.mkfifo(folder / "pipe")
    return folder


def test_files_of_the_folder_are_accepted(folder: Path) -> None:
    [file] = checked(answer(folder / "source0"), folder)

    assert file.local == folder / "source0"


@pytest.mark.parametrize(
    "place", ["link", "hard", "pipe", "deep", "gone", "../secret", "deep/../../secret", "deep/source0"]
)
def test_other_files_than_regular_ones_of_the_folder_are_refused(folder: Path, place: str) -> None:
    with pytest.raises(SourceError, match="see the service's log"):
        checked(answer(folder / place), folder)


def test_a_wrong_size_and_an_answer_of_another_shape_are_refused(folder: Path) -> None:
    for wrong in (answer(folder / "source0", 4), {"files": [{"local": "x"}]}, None):
        with pytest.raises(SourceError, match="see the service's log"):
            checked(wrong, folder)
