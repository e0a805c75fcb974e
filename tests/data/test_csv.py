"""The CSV reader: encodings, delimiters, headers, types, wide and long files."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.spec.read_options import DEFAULT_NULL_VALUES
from service.spec.table import ColumnType
from tests.data.tables import PENGUINS, store
from tests.examples import sampled


def test_the_penguins_keep_their_rows_in_order_and_get_their_types(tmp_path: Path) -> None:
    with PENGUINS.open(encoding="utf-8") as file:
        expected = [[None if v == "NA" else v for v in row] for row in csv.reader(file)][1:]

    stored = store(tmp_path, PENGUINS)

    assert (stored.rows, stored.warnings) == (344, [])
    assert {c.name: c.type.value for c in stored.columns} == {
        "species": "text",
        "island": "text",
        "bill_length_mm": "number",
        "bill_depth_mm": "number",
        "flipper_length_mm": "integer",
        "body_mass_g": "integer",
        "sex": "text",
        "year": "integer",
    }
    assert [
        [None if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in row] for row in stored.values()
    ] == expected


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    lines = [["height", "name, first"], ["1.5", "a, b"], ["2.5", "c"]]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(lines)

    stored = store(tmp_path, text.getvalue())

    assert [c.name for c in stored.columns] == lines[0]
    assert stored.values() == [(1.5, "a, b"), (2.5, "c")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_the_text_is_the_same_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    stored = store(tmp_path, "größe,where\n1,Zürich\n2,Genève\n".encode(encoding))

    assert [c.name for c in stored.columns] == ["größe", "where"]
    assert stored.values() == [(1, "Zürich"), (2, "Genève")]
    assert ["Windows-1252" in w for w in stored.warnings] == [True] * (encoding == "cp1252")


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y",
        "a,b\r1,x\r2,y\r",
        "a,b\r\n1,x\n2,y\r\n",
        "\n\na,b\n\n1,x\n\n2,y\n\n",
        "\r\n\r\na,b\r\n1,x\r\n2,y\r\n",
    ],
    ids=["unix", "windows", "old mac", "mixed", "blank lines", "blank windows lines"],
)
def test_line_endings_and_blank_lines_do_not_matter(tmp_path: Path, text: str) -> None:
    assert store(tmp_path, text).values() == [(1, "x"), (2, "y")]


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        (["1", "-2", "007"], ColumnType.integer, [1, -2, 7]),
        (["1.0", "", "3e2"], ColumnType.integer, [1, None, 300]),
        (["1.5", "NA", " 2"], ColumnType.number, [1.5, None, 2.0]),
        (["9007199254740993", "1", "2"], ColumnType.number, [2.0**53, 1.0, 2.0]),
        (["inf", "-Infinity", "0.5"], ColumnType.number, [None, None, 0.5]),
        (["1e400", "1", "2"], ColumnType.integer, [None, 1, 2]),
        (["True", "false", "?"], ColumnType.boolean, [True, False, None]),
        (["t", "f", "t"], ColumnType.text, ["t", "f", "t"]),
        (["yes", "no", "1"], ColumnType.text, ["yes", "no", "1"]),
        (["1", "2", "3 cm"], ColumnType.text, ["1", "2", "3 cm"]),
        (["", "NA", "null"], ColumnType.text, [None, None, None]),
    ],
)
def test_a_column_has_the_narrowest_type_of_its_values(
    tmp_path: Path, values: list[str], kind: ColumnType, stored: list[object]
) -> None:
    table = store(tmp_path, "row,x\n" + "".join(f"r{i},{value}\n" for i, value in enumerate(values)))

    assert table.column("x").type is kind
    assert [row[1] for row in table.values()] == stored


@pytest.mark.parametrize("value", ["2020-01-31", "2020-01-31 12:30:00", "2020-01-31T12:30:00Z", "12:30"])
def test_dates_and_times_are_recognized(tmp_path: Path, value: str) -> None:
    assert store(tmp_path, f"when\n{value}\n{value}\n").column("when").type is ColumnType.datetime


def test_infinite_numbers_are_counted_in_a_warning(tmp_path: Path) -> None:
    stored = store(tmp_path, "x,y\ninf,1\n-inf,inf\n2.5,nan\n")

    assert stored.column("x").missing == 2
    assert stored.warnings == [
        "column 'x': 2 infinite or NaN values count as missing",
        "column 'y': 1 infinite or NaN value counts as missing",
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("5.1,setosa\n4.9,setosa\n", ["column1", "column2"]),
        ("NA,5.1\n1,2\n", ["column1", "column2"]),
        ("id,2019\n5,1\n", ["id", "2019"]),
        ("name,city\nann,paris\n", ["name", "city"]),
    ],
)
def test_the_first_line_names_the_columns_unless_it_holds_values(tmp_path: Path, text: str, names: list[str]) -> None:
    stored = store(tmp_path, text)

    assert [c.name for c in stored.columns] == names
    assert any("first line" in w for w in stored.warnings) is (names[0] == "column1")


def test_a_quoted_value_may_hold_separators_quotes_and_line_breaks(tmp_path: Path) -> None:
    stored = store(tmp_path, 'a,"b ""b"", b"\n1,"x\ny, ""z"""\n2,\n')

    assert stored.columns[1].name == 'b "b", b'
    assert stored.values() == [(1, 'x\ny, "z"'), (2, None)]


def test_a_table_wider_than_a_slice_keeps_its_columns_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.data.formats.csv.SLICE_COLUMNS", 3)

    stored = store(tmp_path, "a,b,c,d,e,f,g\n1,x,2.5,4,y,6,true\n7,z,8.5,,w,9,false\n")

    assert "".join(c.name for c in stored.columns) == "abcdefg"
    assert stored.values() == [(1, "x", 2.5, 4, "y", 6, True), (7, "z", 8.5, None, "w", 9, False)]
    assert [c.max for c in stored.columns] == [7, None, 8.5, 4, None, 9, 1]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@pytest.mark.slow
@sampled(10, 25)
@given(
    names=st.lists(CELLS.map("n{}".format), min_size=2, max_size=4, unique_by=str.lower),
    rows=st.lists(st.lists(CELLS.map("_{}".format), min_size=4, max_size=4), min_size=1, max_size=6),
)
def test_csv_round_trip(names: list[str], rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([names, *(row[: len(names)] for row in rows)])
    expected = list(csv.reader(io.StringIO(io.IncrementalNewlineDecoder(None, translate=True).decode(text.getvalue()))))

    with tempfile.TemporaryDirectory() as folder:
        stored = store(Path(folder), text.getvalue())

        assert [[c.name for c in stored.columns], *map(list, stored.values())] == expected


def test_every_default_null_value_is_read_as_missing(tmp_path: Path) -> None:
    stored = store(tmp_path, "row,x\n" + "".join(f"r,{value}\n" for value in DEFAULT_NULL_VALUES) + "r,1.5\n")

    assert stored.column("x").type is ColumnType.number
    assert stored.column("x").missing == len(DEFAULT_NULL_VALUES)
    assert math.isclose(stored.column("x").mean or 0, 1.5)
