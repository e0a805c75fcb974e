"""The JSON Lines reader: a column per key, types as in JSON."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data.formats import jsonl
from service.errors import InvalidData
from service.spec.table import ColumnType
from tests.data.tables import store


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_values_keep_the_types_that_json_gives_them(tmp_path: Path) -> None:
    stored = store(
        tmp_path,
        lines(
            {"n": 1, "x": 1.5, "zip": "01234", "ok": True, "day": "2020-01-31"},
            {"n": 2.0, "x": 2, "zip": "99999", "ok": False, "day": "2021-02-28"},
        ),
    )

    assert [c.type.value for c in stored.columns] == ["integer", "number", "text", "boolean", "datetime"]
    assert [row[:4] for row in stored.values()] == [(1, 1.5, "01234", True), (2, 2.0, "99999", False)]
    assert (stored.read_as.format.value, stored.read_as.encoding, stored.read_as.delimiter) == ("jsonl", "utf-8", None)


def test_a_key_that_a_line_lacks_is_missing_there_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    stored = store(tmp_path, '\n{"a":1}\n\n  \n{"b":"x","a":null}\n{"c":false}\n')

    assert stored.values() == [(1, None, None), (None, "x", None), (None, None, False)]


def test_a_key_with_texts_and_numbers_is_text_and_says_so(tmp_path: Path) -> None:
    stored = store(tmp_path, '{"a":1}\n{"a":"x"}\n')

    assert stored.values() == [("1",), ("x",)]
    assert stored.warnings == ["column 'a' has text and other values: all are read as text"]


def test_nothing_is_missing_but_null_unless_the_client_says_so(tmp_path: Path) -> None:
    text = lines({"a": "NA", "b": -999, "c": 1}, {"a": "", "b": 5, "c": -999.5})

    assert store(tmp_path, text).values() == [("NA", -999, 1.0), ("", 5, -999.5)]
    assert store(tmp_path, text, null=["NA", "-999"]).values() == [(None, None, 1.0), ("", 5, -999.5)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_the_objects_are_the_same_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    stored = store(tmp_path, '{"größe":1,"where":"Zürich"}\r\n'.encode(encoding))

    assert [c.name for c in stored.columns] == ["größe", "where"]
    assert stored.values() == [(1, "Zürich")]


def test_more_keys_than_a_slice_holds_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "SLICE_COLUMNS", 2)

    assert store(tmp_path, '{"a":1,"b":2,"c":"x","d":4,"e":5}\n').values() == [(1, 2, "x", 4, 5)]


def test_a_small_file_that_expands_to_a_huge_table_is_refused(tmp_path: Path) -> None:
    file = "".join(f'{{"k{i}":{i}}}\n' for i in range(1_500))

    with pytest.raises(InvalidData) as refused:
        store(tmp_path, file)

    said = "1,500 objects with 1,500 different keys, and 1,500 values: fewer than one in 100 cells of the table"
    assert refused.value.detail.startswith(said)


def test_a_sparse_file_is_read_as_long_as_its_table_is_small_or_full_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "SPARSE_CELLS", 1_000)
    small = store(tmp_path, "".join(f'{{"k{i}":{i}}}\n' for i in range(31)))
    full_enough = store(tmp_path, "".join(f'{{"a":1,"k{i % 49}":{i}}}\n' for i in range(100)))

    assert (small.rows, len(small.columns)) == (31, 31)
    assert (full_enough.rows, len(full_enough.columns)) == (100, 50)


def test_the_last_of_many_keys_twice_in_a_line_is_found_at_once(tmp_path: Path) -> None:
    keys = ",".join(f'"{i}":1' for i in range(40_000))
    began = time.process_time()  # whatever else the machine does

    with pytest.raises(InvalidData, match="line 1: key '39999' is duplicated"):
        store(tmp_path, f'{{{keys},"39999":1}}\n')

    assert time.process_time() - began < 5  # 10 s where each key is looked for among all the others


def test_a_csv_file_may_begin_with_a_brace(tmp_path: Path) -> None:
    assert [c.name for c in store(tmp_path, "{a},b\n1,2\n").columns] == ["{a}", "b"]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    names=st.lists(TEXTS.map("n{}".format), min_size=2, max_size=4, unique_by=str.lower),
    rows=st.lists(st.tuples(NUMBERS, TEXTS.map("_{}".format)), min_size=1, max_size=6),
)
def test_json_lines_round_trip(names: list[str], rows: list[tuple[float, str]]) -> None:
    objects = [dict(zip(names, row, strict=False)) for row in rows]

    with tempfile.TemporaryDirectory() as folder:
        stored = store(Path(folder), lines(*objects))

        assert [c.name for c in stored.columns] == names[:2]
        assert stored.values() == rows
        assert stored.columns[1].type is ColumnType.text
