"""CSV injection: formulas are escaped for spreadsheets, and restored when read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.tabular_responses import TabularData, csv_rows
from service.data.csv_injection import escape_formula, unescape_formula
from service.data.processes.export_csv import export_csv
from service.data.processes.ingest import ingest
from service.data.processes.runner import Allowance
from service.data.processes.write_parquet import Kind
from service.spec.read_options import ReadOptions
from tests.data.files import parquet

ALLOWED = Allowance(memory_bytes=2**28, unpacked_bytes=2**20, seconds=60)
FORMULAS = ('=HYPERLINK("http://x";"y")', "+1+cmd|' /C calc'!A0", "-log10(p)", "@timestamp", "\uff1d1", "'=1", "''=1")


@given(text=st.text("'=+-@\t\r\uff1d\uff0b\uff0d\uff20 a1.", max_size=8))
def test_no_text_begins_as_a_formula_and_each_comes_back(text: str) -> None:
    shown = escape_formula(text)

    assert unescape_formula(shown) == text
    if shown[:1] in tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20"):
        float(shown)  # a number, and nothing to compute


@pytest.mark.parametrize("text", ["a", "", "'quoted'", "it's", "-1", "+1e5", "-inf", "1-2", "a=b"])
def test_what_no_spreadsheet_computes_stays_as_it_is(text: str) -> None:
    assert escape_formula(text) == unescape_formula(text) == text


def test_names_of_a_table_that_is_downloaded_are_no_formulas_and_are_read_back_as_they_were(tmp_path: Path) -> None:
    names = ", ".join('range AS "' + name.replace('"', '""') + '"' for name in FORMULAS)
    (tmp_path / "source").write_bytes(parquet(f"SELECT {names}, '=1' || range AS t FROM range(9)"))
    first = ingest(tmp_path / "source", tmp_path / "table", ReadOptions(), ALLOWED)
    assert [column.name for column in first.columns] == [*FORMULAS, "t"]

    export_csv(tmp_path / "table", tmp_path / "csv", ALLOWED)

    text = (tmp_path / "csv").read_text()
    assert "'@timestamp,\uff1d1" not in text
    assert ",'@timestamp,'\uff1d1,''=1,'''=1,t\n" in text
    assert text.endswith("8,=18\n")  # a cell is data, and stays as it is
    assert ingest(tmp_path / "csv", tmp_path / "again", ReadOptions(), ALLOWED).columns == first.columns


@pytest.mark.parametrize(
    ("cell", "shown"), [("=1+1", "'=1+1"), ("-0.5", "-0.5"), (-0.5, -0.5), (True, "true"), (None, None)]
)
def test_reports_of_the_service_compute_neither_names_nor_texts(cell: Any, shown: Any) -> None:
    table = TabularData("sweep", {"job": Kind.text, "=x": Kind.text}, [[("job_1", cell)]])

    assert list(csv_rows(table)) == [[["job", "'=x"]], [["job_1", shown]]]
