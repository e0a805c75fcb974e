"""Writing rows of the service to Parquet in a child process: round trip and limits."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from service.data.processes.runner import Allowance
from service.data.processes.write_parquet import Kind, write_rows
from service.errors import TooLarge, Unavailable

ALLOWED = Allowance(memory_bytes=2**28, unpacked_bytes=2**20, seconds=60)


def test_values_come_back_as_they_were_and_what_is_not_finite_is_missing(tmp_path: Path) -> None:
    columns = {"n": Kind.whole, "x": Kind.number, "yes": Kind.flag, 't "1"': Kind.text}
    rows = [(2**63 - 1, 0.1 + 0.2, True, 'a, "b"\r\n\u2192'), (-(2**63), 5e-324, False, ""), (None, None, None, None)]

    write_rows(columns, [rows, [], [(1, float("nan"), True, "null"), (2, 1, True, "1e3")]], tmp_path / "t", ALLOWED)

    table = duckdb.read_parquet(str(tmp_path / "t"))
    assert table.columns == list(columns)
    assert list(map(str, table.types)) == ["BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"]
    assert table.fetchall() == [*rows, (1, None, True, "null"), (2, 1.0, True, "1e3")]


@pytest.mark.slow
def test_many_rows_stay_in_order(tmp_path: Path) -> None:
    pages = ([(n, f"row {n}") for n in range(start, start + 1_000)] for start in range(0, 300_000, 1_000))

    write_rows({"n": Kind.whole, "t": Kind.text}, pages, tmp_path / "t", ALLOWED)

    assert [n for n, _ in duckdb.read_parquet(str(tmp_path / "t")).fetchall()] == list(range(300_000))


def test_names_that_differ_only_in_case_stay_distinct(tmp_path: Path) -> None:
    write_rows({"a": Kind.whole, "A": Kind.whole}, [[(1, 2)]], tmp_path / "t", ALLOWED)

    assert duckdb.read_parquet(str(tmp_path / "t")).columns == ["a", "A_1"]


def test_a_failed_child_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="could not be written as Parquet"):
        write_rows({"n": Kind.whole}, [[("no number",)]], tmp_path / "t", ALLOWED)


@pytest.mark.slow
def test_a_table_that_would_be_huge_is_refused(tmp_path: Path) -> None:
    letters = ([(f"{page * 7919 + n:x}" * 40,) for n in range(20_000)] for page in range(40))
    tight = ALLOWED.model_copy(update={"unpacked_bytes": -(2**24) + 1_000})  # of which there are four, and 64 MiB

    with pytest.raises(TooLarge, match="more disk space"):
        write_rows({"t": Kind.text}, letters, tmp_path / "t", tight)
