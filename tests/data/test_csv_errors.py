"""Invalid CSV files are refused with a message that says where and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import InvalidData
from tests.data.tables import store

MANY = ",".join(f"x{i}" for i in range(100_000))

FAULTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file is empty"),
    "blank": ("\n \n", "nothing but blank lines"),
    "only a header": ("a,b\n", "a line of column names but no rows"),
    "too few values": ("a,b\n1,2\n3\n4,5\n", "line 3 has 1 value where 2 columns are named: '3'"),
    "too many values": ("a,b\n1,2\n3,4\n5,6,7,8\n", "line 4 has 4 values where 2 columns are named: '5,6,7,8'"),
    "too few values at the end": ("a,b\n1,2\n3", "line 3 has 1 value"),
    "too few after blank lines": ("\n\na,b\n1,2\n3\n", "line 5 has 1 value"),
    "NUL": ("a,b\n1,2\n3,\0\n", "line 3 contains a NUL character"),
    "no known encoding": (b"a,b\n1,\x81\xff\n", "neither UTF-8 nor Windows-1252"),
    "half of UTF-16": ("a,b\n1,2\n".encode("utf-16")[:-1], "starts as UTF-16 but goes on as something else"),
    "a name twice": ("a,b,a\n1,2,3\n", "'a' names 2 columns"),
    "names that differ in case": ("T,t\n1,2\n", "'T' and 't' differ only in case"),
    "no first and last name": (",a,\n0,1,\n", "column 1 has no name"),
    "no last name": ("a,b,\n1,2,\n", "column 3 has no name"),
    "a long name": ("x" * 1_001 + ",y\n1,2\n", "the name of column 1 is longer than 1,000 characters"),
    "too many columns": (f"{MANY}\n{MANY}\n", "100,000 columns; at most 10,000"),
    "a long line": ("a,b\n1," + "x" * 20_000_000 + "\n", "line 2 is longer than 2,000,000 bytes: '1,xxx"),
    "an open quote": ('a,b\n1,2\n3,"4\n5,6\n', "line 3, column 'b': a quote is never closed"),
    "an open quote in a long file": ('a,b\n1,"2\n' + "3,4\n" * 1_000_000, "line 2"),
    "text after a quote": ('a,b\n1,"2"x\n', "line 2, column 'b': a quote is never closed, or text follows"),
    "an open quote in the header": ('a,"b\n1,2\n', "the first line opens a quote"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_invalid_file_is_refused_saying_what_to_fix(tmp_path: Path, fault: str) -> None:
    content, reason = FAULTS[fault]

    with pytest.raises(InvalidData) as refused:
        store(tmp_path, content)

    assert reason in str(refused.value)
    assert len(str(refused.value)) < 300
    assert not (tmp_path / "table.parquet").exists()


def test_one_text_among_numbers_makes_the_column_text(tmp_path: Path) -> None:
    assert store(tmp_path, "x\n" + "1\n" * 50_000 + "oops\n").column("x").distinct == 2


def test_the_reader_reaches_no_other_file(tmp_path: Path) -> None:
    import duckdb

    from service.data.duckdb_connection import sandbox
    from service.data.sql import sql_text

    (tmp_path / "mine").mkdir()
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    connection = sandbox(tmp_path / "mine/source.csv", tmp_path / "mine")

    for statement in (
        f"FROM read_csv({sql_text(str(secret))})",
        f"COPY (SELECT 1) TO {sql_text(str(secret))}",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    assert secret.read_text() == "a\n1\n"
