"""Duplicate rows are counted as in plain Python."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data import staging
from service.data.profile import duplicates
from tests.data.tables import PENGUINS, store

ROW = st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", ""]), st.sampled_from([0.5, 1.5]))


@settings(max_examples=25)
@given(st.lists(ROW, min_size=1, max_size=40))
def test_duplicates_are_the_rows_beyond_the_different_ones(rows: list[tuple[int, str, float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stored = store(Path(folder), "a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))

    assert stored.duplicate_rows == len(rows) - len(set(rows))


def test_equal_rows_are_found_across_slices_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "SLICE_COLUMNS", 2)

    stored = store(tmp_path, "a,b,c,d,e\n1,1,1,1,1\n1,1,1,1,2\n1,1,1,1,1\n2,1,1,1,1\n1,1,1,1,1\n")

    assert stored.duplicate_rows == 2


def test_a_table_without_equal_rows_has_none(tmp_path: Path) -> None:
    assert store(tmp_path, PENGUINS).duplicate_rows == 0


def test_many_rows_are_hashed_in_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "HASHES", 10)

    assert store(tmp_path, "a,b\n" + "".join(f"{i % 31},{i % 7}\n" for i in range(300))).duplicate_rows == 300 - 217
