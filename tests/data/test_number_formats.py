"""Formatted numbers in CSV files and in rows to predict: thousands separators, currency, percent, accounting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.data.number_formats import parse_formatted
from service.data.preprocess.cells import cell
from service.data.preprocess.features import FittedFeature
from service.spec.table import ColumnType
from tests.data.tables import Stored, store


def column(folder: Path, values: list[str], delimiter: str = ",", **options: Any) -> Stored:
    """A table with the column x of these values."""
    lines = [f'r{i}{delimiter}"{value}"' for i, value in enumerate(values)]
    return store(folder, "\n".join([f"row{delimiter}x", *lines, ""]), **options)


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["1,234,567", "12", "-1,000"], [1_234_567, 12, -1_000]),
        (["1,234.5", "999.25"], [1_234.5, 999.25]),
        (["$1,234.50", "-$3", "$ 0.5", ""], [1_234.5, -3.0, 0.5, None]),
        (["12 €", "3.5 €"], [12.0, 3.5]),
        (["£1,000", "£20"], [1_000, 20]),
        (["12.5%", "3 %", "-100%"], [0.125, 0.03, -1.0]),
        (["(1,000)", "2,500", "0"], [-1_000, 2_500, 0]),
        (["$(5)", "($1,000.50)", "$7"], [-5.0, -1_000.5, 7.0]),
    ],
)
def test_formatted_numbers_are_read_as_numbers(tmp_path: Path, values: list[str], numbers: list[float]) -> None:
    stored = column(tmp_path, values)

    assert [x for _, x in stored.values()] == numbers
    assert any(warning.startswith("formatted numbers (") and "'x'" in warning for warning in stored.warnings)


@pytest.mark.parametrize(
    "values",
    [
        ["50,000", "60,000"],  # thousands, or three decimals
        ["1,234%", "5%"],
        ["1,234 €", "5 €"],
        ["$5", "€6"],
        ["50%", "0.5"],
        ["(1)", "(2)"],
        ["1.234,50 €", "2,00 €"],
        ["1,500", "2,5"],
    ],
)
def test_ambiguous_numbers_stay_text_and_the_warning_says_how_to_fix_them(tmp_path: Path, values: list[str]) -> None:
    stored = column(tmp_path, values)

    assert [x for _, x in stored.values()] == values
    [warning] = [warning for warning in stored.warnings if "read as text" in warning]
    assert "'x'" in warning
    assert "decimal=" in warning


def test_the_decimal_option_decides_between_thousands_and_decimals(tmp_path: Path) -> None:
    values = ["50,000", "60,125"]

    assert [x for _, x in column(tmp_path, values, decimal=".").values()] == [50_000, 60_125]
    assert [x for _, x in column(tmp_path, values, decimal=",").values()] == [50.0, 60.125]


@pytest.mark.parametrize(
    "values",
    [["1,2", "3,4"], ["1,23,456", "1"], ["0,123,456", "1"], ["(555) 123-4567", "1"], ["12-34", "5"], ["1,000 kg", "1"],
     ["$", "$1"], ["1.2.3", "4.5.6"], ["10.0.0.1", "10.0.0.2"]],
)  # fmt: skip
def test_other_texts_stay_texts(tmp_path: Path, values: list[str]) -> None:
    assert column(tmp_path, values).column("x").type is ColumnType.text


def test_all_values_decide_not_the_first_ones(tmp_path: Path) -> None:
    values = ["$1,234"] * 5_000

    assert column(tmp_path, values).column("x").type is ColumnType.integer
    assert column(tmp_path, [*values, "unknown"]).column("x").type is ColumnType.text


def test_decimal_commas_in_files_with_other_delimiters_are_read_as_before(tmp_path: Path) -> None:
    assert [x for _, x in column(tmp_path, ["1,234", "2,5"], ";").values()] == [1.234, 2.5]
    assert [x for _, x in column(tmp_path, ["1,234", "1,234,567"], ";").values()] == [1_234, 1_234_567]


@pytest.mark.parametrize(
    ("text", "number"),
    [("$1,234", 1_234), ("$1,234.50", 1_234.5), ("12.5%", 0.125), ("(1,000)", -1_000), ("1,234,567", 1_234_567)],
)
def test_a_row_to_predict_gives_the_same_number_as_the_file(tmp_path: Path, text: str, number: float) -> None:
    feature = FittedFeature(column="x", type=ColumnType.number, indicator=False)

    assert cell(text, feature) == number
    assert next(x for _, x in column(tmp_path, [text, text.strip("()")]).values()) == number


@pytest.mark.parametrize("text", ["1,234", "1,234%", "€1,234", "1.234,5", "1.5", "abc", "", "$", "-"])
def test_a_text_that_is_no_unambiguous_formatted_number_is_refused(text: str) -> None:
    assert parse_formatted(text) is None
