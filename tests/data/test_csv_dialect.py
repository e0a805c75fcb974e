"""CSV files as spreadsheets and pandas write them: unnamed index columns, `sep=` lines, titles, empty rows, totals."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import InvalidData
from service.spec.read_options import ReadAs
from tests.data.tables import store

ROWS = "".join(f"{i},{i / 7},{'xy'[i % 2]}\n" for i in range(20))


def test_an_unnamed_first_column_is_named_index_and_left_out_of_the_features(tmp_path: Path) -> None:
    stored = store(tmp_path, ",size,kind\n" + ROWS)

    assert [column.name for column in stored.columns] == ["index", "size", "kind"]
    assert stored.read_as.index_column == "index"
    assert stored.warnings == [
        "the first column has no name: it is read as 'index', and is no feature unless data.features names it"
        " (pandas: to_csv(index=False))"
    ]
    resolved = stored.resolve("kind")
    assert [feature.column for feature in resolved.features] == ["size"]
    [warning] = [warning for warning in resolved.warnings if warning.code == "column_left_out"]
    assert warning.message == (
        "column 'index' is left out: it has no name in the file, as a row index; name it in data.features to use it"
    )


def test_an_index_column_that_is_named_is_a_feature(tmp_path: Path) -> None:
    resolved = store(tmp_path, ",size,kind\n" + ROWS).resolve("kind", data={"features": ["index"]})

    assert [feature.column for feature in resolved.features] == ["index"]
    assert [warning for warning in resolved.warnings if warning.code == "column_left_out"] == []


def test_a_column_that_the_file_names_index_is_a_feature(tmp_path: Path) -> None:
    stored = store(tmp_path, "index,size,kind\n" + ROWS)

    assert stored.read_as.index_column is None
    assert [feature.column for feature in stored.resolve("kind").features] == ["index", "size"]


def test_an_unnamed_first_column_beside_one_named_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="column 1 has no name"):
        store(tmp_path, ",Index,kind\n" + ROWS)


def test_how_a_file_was_read_before_these_fields_existed_still_loads() -> None:
    stored = ReadAs.model_validate({"format": "csv", "delimiter": ",", "header": True})

    assert (stored.index_column, stored.skipped_lines) == (None, None)


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"'])
def test_a_first_line_with_the_separator_is_obeyed(tmp_path: Path, first: str) -> None:
    stored = store(tmp_path, f"{first}\r\na;b,c\r\n1;x\r\n2;y\r\n")

    assert ([column.name for column in stored.columns], stored.values()) == (["a", "b,c"], [(1, "x"), (2, "y")])
    assert (stored.read_as.delimiter, stored.read_as.skipped_lines) == (";", 1)


@pytest.mark.parametrize(
    ("title", "skipped"),
    [
        ("Sales report\n", 1),
        ("Sales report\nmade in May\n\n", 3),
        ('"Sales, by region"\n', 1),
        ("Sales report,,\n,,\n", 2),
    ],
)
def test_title_lines_above_the_header_are_skipped_and_warned_of(tmp_path: Path, title: str, skipped: int) -> None:
    stored = store(tmp_path, title + "region,amount,day\nnorth,1,2024-05-01\nsouth,2,2024-05-02\n")

    assert [column.name for column in stored.columns] == ["region", "amount", "day"]
    assert (stored.rows, stored.read_as.skipped_lines) == (2, skipped)
    lines = "line 1 is" if skipped == 1 else f"lines 1 to {skipped} are"
    assert stored.warnings[0] == (
        f"{lines} skipped as a title: the column names are in line {skipped + 1}; header=true keeps line 1 as header"
    )


@pytest.mark.parametrize("text", ["text\nhello, world\nfoo, bar\n", "a\n1,5\n2,5\n", "x\nNA\n3\n"])
def test_a_table_of_one_column_has_no_title(tmp_path: Path, text: str) -> None:
    stored = store(tmp_path, text)

    assert (len(stored.columns), stored.rows, stored.read_as.skipped_lines) == (1, 2, None)


def test_header_true_makes_the_first_line_the_header(tmp_path: Path) -> None:
    stored = store(tmp_path, "report\na,b\nx,1\ny,2\n", header=True, delimiter=";")

    assert [column.name for column in stored.columns] == ["report"]


def test_rows_without_any_value_are_skipped_and_counted(tmp_path: Path) -> None:
    stored = store(tmp_path, "a,b\n1,x\n,\n2,y\n,\n")

    assert stored.values() == [(1, "x"), (2, "y")]
    assert stored.warnings == ["2 rows without any value were skipped"]
    assert [column.missing for column in stored.columns] == [0, 0]


@pytest.mark.parametrize("label", ["Total", "TOTAL:", "Grand total", "Sum", "Summe"])
def test_a_closing_total_row_is_warned_of(tmp_path: Path, label: str) -> None:
    stored = store(tmp_path, f"region,amount\nnorth,1\nsouth,2\n{label},3\n")

    assert stored.rows == 3
    assert stored.warnings == [
        f"the last row looks like a total ({label!r} in column 'region'): remove it from the file"
    ]


def test_a_category_named_total_is_no_total_row(tmp_path: Path) -> None:
    assert store(tmp_path, "kind,amount\ntotal,1\npart,2\ntotal,3\n").warnings == []


def test_values_that_differ_only_in_case_or_spaces_are_warned_of(tmp_path: Path) -> None:
    rows = "".join(f"{i},{kind}\n" for i, kind in enumerate(["Adelie", "adelie", "Adelie ", "Gentoo"] * 5))
    stored = store(tmp_path, "n,kind\n" + rows)

    assert stored.warnings == [
        "values of column 'kind' differ only in case or spaces ('Adelie', 'Adelie ', 'adelie'): each counts as a"
        " category of its own; spell them alike in the file"
    ]
    assert "similar_classes" in {warning.code for warning in stored.resolve("kind").warnings}
