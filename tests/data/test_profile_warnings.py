"""Warnings of the profile: none for sound tables."""

from __future__ import annotations

from pathlib import Path

from tests.data.tables import PENGUINS, store


def test_a_sound_table_has_no_warnings(tmp_path: Path) -> None:
    assert store(tmp_path, PENGUINS).warnings == []


def test_columns_that_teach_nothing_are_named(tmp_path: Path) -> None:
    stored = store(tmp_path, "x,same,none,some\n" + "".join(f"{i},7,,{'' if i else 7}\n" for i in range(9)))

    assert stored.warnings == ["empty columns: 'none'", "constant columns: 'same'"]


def test_columns_whose_values_are_nearly_all_different_resemble_ids(tmp_path: Path) -> None:
    stored = store(tmp_path, "id,name,size,few\n" + "".join(f"{max(i, 1)},n{i},{i / 7},{i % 50}\n" for i in range(200)))

    assert stored.warnings == ["likely ID columns, distinct in nearly every row: 'id', 'name'"]


def test_a_few_rows_say_nothing_about_ids(tmp_path: Path) -> None:
    assert store(tmp_path, "id\n" + "".join(f"{i}\n" for i in range(99))).warnings == []


def test_equal_rows_are_counted(tmp_path: Path) -> None:
    stored = store(tmp_path, "a,b\n1,x\n1,x\n2,x\n1,x\n1,y\n")

    assert stored.warnings == ["2 rows are duplicates of an earlier row"]


def test_of_many_columns_a_few_are_named(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(8)]

    (warning,) = store(
        tmp_path, ",".join(["x", *names]) + "\n" + "".join(f"{i}{',1' * 8}\n" for i in range(3))
    ).warnings

    assert warning == "constant columns: 'c0', 'c1', 'c2', 'c3', 'c4' and 3 more"
