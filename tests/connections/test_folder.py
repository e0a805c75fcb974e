"""Files of a declared folder: nothing outside of it, by no path and no link."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.domain.connection import ConnectionKind
from service.errors import InvalidData, SourceError, TooLarge
from tests.connections.conftest import LIMITS, Fetch, declared


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake"
    (folder / "a/deep").mkdir(parents=True)
    for name in ("b.csv", "a.csv", "deep/c.csv"):
        (folder / "a" / name).write_text(f"{name}\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text("secret")
    (folder / "a/link.csv").symlink_to(outside / "secret.csv")
    (folder / "linked").symlink_to(outside)
    (folder / "inside.csv").symlink_to(folder / "a/a.csv")
    return folder


def test_files_come_in_the_order_of_their_paths(lake: Path, fetched: Fetch) -> None:
    connection = declared(lake.as_uri(), ConnectionKind.folder)

    files = fetched(connection, path="a/[a-c].csv")

    assert [(file.path, file.local.read_text()) for file in files] == [("a/a.csv", "a.csv\n"), ("a/b.csv", "b.csv\n")]
    assert all(file.modified_at for file in files)


def test_a_link_within_the_folder_is_followed(lake: Path, fetched: Fetch) -> None:
    [file] = fetched(declared(lake.as_uri(), ConnectionKind.folder), path="inside.csv")

    assert file.local.read_text() == "a.csv\n"


@pytest.mark.parametrize("path", ["a/link.csv", "linked/secret.csv", "../outside/secret.csv", "a/*.csv"])
def test_no_path_leads_out_of_the_folder(lake: Path, fetched: Fetch, path: str) -> None:
    with pytest.raises(InvalidData, match="there is no file"):
        fetched(declared(lake.as_uri(), ConnectionKind.folder), path=path)


def test_a_pattern_without_matches_a_folder_and_too_many_bytes(lake: Path, fetched: Fetch) -> None:
    connection = declared(lake.as_uri(), ConnectionKind.folder)

    with pytest.raises(InvalidData, match=r"no file matches '\*\.parquet'"):
        fetched(connection, path="*.parquet")
    with pytest.raises(InvalidData, match=r"'a' is a folder: for all of its files, a/\*"):
        fetched(connection, path="a")
    with pytest.raises(TooLarge, match="more than 8 bytes"):
        fetched(connection, LIMITS.model_copy(update={"size_bytes": 8}), path="a/[ab].csv")


def test_a_folder_that_is_gone_fails(tmp_path: Path, fetched: Fetch) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        fetched(declared((tmp_path / "gone").as_uri(), ConnectionKind.folder))
