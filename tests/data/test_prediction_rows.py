"""Rows to predict from a file: columns by name, parsed as in training, errors with line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.ingest.prediction_rows import read_rows
from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.data.preprocess.sources import table_from_rows, table_from_staged
from service.errors import InvalidData
from service.spec.read_options import ReadOptions
from service.spec.table import ColumnType
from tests.data.files import parquet
from tests.data.tables import LIMITS

FITTED = Preprocessing(
    features=[
        FittedFeature(column="length", type=ColumnType.number, indicator=True),
        FittedFeature(column="sex", type=ColumnType.text, categories=["None", "f", "m"], other=True, indicator=True),
        FittedFeature(column="tagged", type=ColumnType.boolean, indicator=True),
        FittedFeature(column="seen", type=ColumnType.datetime, origin=1.7e9, indicator=True),
        FittedFeature(column="at", type=ColumnType.datetime, origin=3_600.0, indicator=True),
    ],
    target=FittedTarget(column="species", classes=["a", "b"]),
)
HEADER = "length,sex,tagged,seen,at\n"

Read = Callable[..., dict[str, list[Any]]]


def fitted(column: str, kind: ColumnType = ColumnType.number, **fields: Any) -> Preprocessing:
    feature = FittedFeature(column=column, type=kind, indicator=True, **fields)
    return Preprocessing(features=[feature], target=FittedTarget(column="y"))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The staged columns of a file, as lists, None where missing."""

    def read(content: str | bytes, preprocessing: Preprocessing = FITTED, **options: Any) -> dict[str, list[Any]]:
        source = tmp_path / "source"
        source.write_bytes(content.encode() if isinstance(content, str) else content)
        rows = read_rows(source, tmp_path, ReadOptions.model_validate(options), preprocessing, LIMITS)
        table = table_from_staged(tmp_path, preprocessing, range(rows))
        return {name: [None if v != v else v for v in values.tolist()] for name, values in table.columns.items()}

    return read


def test_the_same_rows_are_the_same_table_as_csv_as_parquet_and_as_json(read: Read) -> None:
    rows: list[dict[str, Any]] = [
        {"length": 1.5, "sex": "f", "tagged": True, "seen": "2024-05-01T10:30:00+02:00", "at": "10:30:00"},
        {"length": None, "sex": None, "tagged": None, "seen": None, "at": None},
        {"length": -3, "sex": "None", "tagged": False, "seen": "2024-05-01", "at": "23:59:59.5"},
        {"length": 7, "sex": "x", "tagged": True, "seen": "1969-12-31 23:59:59.5", "at": "00:00:00"},
    ]
    csv = HEADER + "".join(",".join("" if v is None else str(v) for v in row.values()) + "\n" for row in rows)
    values = ", ".join("(" + ", ".join("NULL" if v is None else repr(v) for v in row.values()) + ")" for row in rows)
    typed = (
        "length::DOUBLE AS length, sex, tagged, make_timestamp(epoch_us(seen::TIMESTAMPTZ)) AS seen, clock::TIME AS at"
    )
    stored = parquet(f"SELECT {typed} FROM (VALUES {values}) AS t(length, sex, tagged, seen, clock)")

    columns = table_from_rows(rows, FITTED).columns
    expected = {name: [None if v != v else v for v in values.tolist()] for name, values in columns.items()}

    assert read(csv) == expected
    assert read(stored) == expected


def test_columns_go_by_name_in_any_order_and_others_are_passed_over(read: Read) -> None:
    found = read("id,seen,y,length\n7,2024-05-01,a,1.5\n", fitted("length"))

    assert found == {"length": [1.5]}


def test_what_the_data_set_took_for_missing_is_missing_and_its_categories_are_not(read: Read) -> None:
    model = FITTED.model_copy(update={"features": FITTED.features[:2], "null_values": ["-999", "None", "gone"]})

    assert read("length,sex\n-999,None\nNone,gone\n3,NA\n", model) == {
        "length": [None, None, 3.0],
        "sex": ["None", None, "NA"],
    }


def test_numbers_with_a_decimal_comma_are_found(read: Read) -> None:
    assert read("length;id\n1,5;a\n-2;b\n", fitted("length")) == {"length": [1.5, -2.0]}


@pytest.mark.parametrize(
    ("text", "number"), [("$1,234", 1234.0), ("12.5%", 0.125), ("(1,000)", -1000.0), ("1,234,567", 1234567.0)]
)
def test_formatted_numbers_are_those_of_the_data_set(read: Read, text: str, number: float) -> None:
    assert read(f'length,id\n"{text}",a\n2,b\n', fitted("length")) == {"length": [number, 2.0]}


def test_the_decimal_option_decides_whether_a_comma_separates_thousands(read: Read) -> None:
    content = 'length,id\n"1,234",a\n'

    with pytest.raises(InvalidData, match="line 2, column 'length': a number is needed, not '1,234'"):
        read(content, fitted("length"))
    assert read(content, fitted("length"), decimal=".") == {"length": [1234.0]}
    assert read(content, fitted("length"), decimal=",") == {"length": [1.234]}


def test_rows_without_any_value_keep_their_place(read: Read) -> None:
    assert read("length,id\n1,a\n,\n3,c\n", fitted("length")) == {"length": [1.0, None, 3.0]}


def test_an_error_below_title_lines_has_the_right_line(read: Read) -> None:
    text = "Report\n\nlength,id\n1,2\nx,2\n"

    with pytest.raises(InvalidData, match="line 5, column 'length': a number is needed, not 'x'"):
        read(text, fitted("length"))


def test_numbers_that_are_not_finite_are_missing(read: Read) -> None:
    assert read("length,id\ninf,a\n1e999,b\n2,c\n", fitted("length")) == {"length": [None, None, 2.0]}


def test_zeros_and_ones_are_booleans_for_a_boolean_feature(read: Read) -> None:
    assert read("b,id\n1,x\n0,y\n", fitted("b", ColumnType.boolean)) == {"b": [1.0, 0.0]}
    assert read(parquet("SELECT unnest([1, 0, NULL]) AS b"), fitted("b", ColumnType.boolean)) == {"b": [1, 0, None]}


def test_dates_are_read_as_they_were_in_the_data_set(read: Read) -> None:
    model = fitted("d", ColumnType.datetime, origin=1.7e9)

    day_first = read("d,i\n03/04/2024,1\n", model.model_copy(update={"date_format": "%d/%m/%Y"}))
    month_first = read("d,i\n03/04/2024,1\n", model.model_copy(update={"date_format": "%m/%d/%Y"}))

    assert day_first == {"d": [1712102400.0]}
    assert month_first == {"d": [1709510400.0]}


def test_dates_that_could_be_two_days_are_refused_where_the_data_set_does_not_tell(read: Read) -> None:
    model = fitted("d", ColumnType.datetime, origin=1.7e9)

    with pytest.raises(InvalidData, match=r"column 'd': ambiguous dates, %m/%d/%Y and %d/%m/%Y fit"):
        read("d,i\n03/04/2024,1\n", model)
    assert read("d,i\n30/04/2024,1\n", model) == {"d": [1714435200.0]}


def test_a_time_of_day_is_a_date_only_for_a_feature_of_such(read: Read) -> None:
    assert read("d,i\n10:30:00,1\n", fitted("d", ColumnType.datetime, origin=0.0)) == {"d": [37800.0]}
    with pytest.raises(InvalidData, match="line 2, column 'd': a date is needed, not '10:30:00'"):
        read("d,i\n10:30:00,1\n", fitted("d", ColumnType.datetime, origin=1.7e9))


def test_texts_longer_than_any_category_are_cut_but_stay_unseen(read: Read) -> None:
    found = read("sex,i\nfff,1\nNones,2\nNone,3\n", FITTED.model_copy(update={"features": FITTED.features[1:2]}))

    assert found == {"sex": ["fff", "Nones", "None"]}
    assert read("sex,i\nNonesuch,1\n", FITTED.model_copy(update={"features": FITTED.features[1:2]})) == {
        "sex": ["Nones"]
    }


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("length,sex\n1,f\n", "the file has no columns 'tagged', 'seen', 'at', which the network needs"),
        (HEADER + "1,f,true,2024-05-01,10:30\nx,f,true,2024-05-01,10:30\n", "line 3, column 'length': a number"),
        (HEADER + '1,"f\nf",true,,\n\n2,"m",maybe,,\n',
         "line 5, column 'tagged': true or false is needed, not 'maybe'"),
        (HEADER + "1,f,true,soon,10:30\n", "line 2, column 'seen': a date is needed, not 'soon'"),
        (HEADER + "1,f\n", "line 2 has 2 values where 5 columns are named"),
        (HEADER, "but no rows"),
        (parquet("SELECT 'x' AS length, 'f' AS sex, true AS tagged, DATE '2024-05-01' AS seen, TIME '10:30' AS at"),
         "column 'length' has the type VARCHAR, where a number is needed"),
        (parquet("SELECT 1 AS length, 2 AS sex, true AS tagged, DATE '2024-05-01' AS seen, TIME '10:30' AS at"),
         "column 'sex' has the type INTEGER, where a text is needed"),
        (parquet("SELECT 1 AS length, 'f' AS sex, range AS tagged, TIMESTAMP '2024-05-01' AS seen, NULL AS at"
                 " FROM range(3)"),
         "row 3, column 'tagged': true or false is needed, not '2'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(read: Read, content: str | bytes, detail: str) -> None:
    with pytest.raises(InvalidData) as refused:
        read(content)

    assert detail in str(refused.value)


def test_a_wide_file_is_read_slice_by_slice(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.data.formats.csv.SLICE_COLUMNS", 20)
    features = [FittedFeature(column=f"x{i}", indicator=False) for i in range(45)]
    model = Preprocessing(features=features[::-1], target=FittedTarget(column="y"))

    found = read("".join(",".join(f"{p}{i}" for i in range(45)) + "\n" for p in ("x", "")), model)

    assert found == {f"x{i}": [float(i)] for i in range(45)}


@pytest.mark.e2e
@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=50))
def test_numbers_come_through_csv_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float | None]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "source").write_text("x,i\n" + "".join(f"{'' if n is None else repr(n)},1\n" for n in numbers))

    rows = read_rows(folder / "source", folder, ReadOptions(), fitted("x"), LIMITS)

    expected = np.array([np.nan if n is None else n for n in numbers])
    np.testing.assert_array_equal(table_from_staged(folder, fitted("x"), range(rows)).columns["x"], expected)


def test_rows_can_be_taken_up_some_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("x,i\n" + "".join(f"{i},a\n" for i in range(5_000)))
    read_rows(tmp_path / "source", tmp_path, ReadOptions(), fitted("x"), LIMITS)

    table = table_from_staged(tmp_path, fitted("x"), range(2_040, 4_100))

    assert (table.rows, table.columns["x"].tolist()) == (2_060, [float(i) for i in range(2_040, 4_100)])
