"""Rows that were prepared are kept, the latest used longest, and a changed file is found when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import DatasetCorrupt
from service.worker import shelf as shelf_module
from service.worker.shelf import Shelf, Stored
from tests.specs import synthetic


def test_jobs_on_the_same_rows_share_them_and_another_split_is_prepared_anew() -> None:
    shelf = Shelf()

    first = shelf.take(synthetic(), None)

    assert shelf.take(synthetic(seed=1, optimizer={"lr": 0.1}), None) is first
    assert shelf.take(synthetic(split={"seed": 1}), None) is not first


def test_the_longest_unused_rows_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    splits = [synthetic(split={"seed": seed}) for seed in range(3)]
    one = shelf.take(splits[0], None)
    monkeypatch.setattr(shelf_module, "MAX_BYTES", 2 * shelf_module._size(one))
    two = shelf.take(splits[1], None)
    shelf.take(splits[0], None)

    shelf.take(splits[2], None)

    assert shelf.take(splits[0], None) is one
    assert shelf.take(splits[1], None) is not two


def test_a_file_that_changed_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"other bytes")

    with pytest.raises(DatasetCorrupt, match="upload the file again"):
        Shelf().take(synthetic(), Stored(tmp_path / "data.parquet", "ab" * 32))
