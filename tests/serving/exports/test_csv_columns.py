"""A CSV file as the loader of a bundle reads it: as the service does, or refused with a message."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.data.ingest.prediction_rows import read_rows
from service.data.preprocess.preprocessing import Preprocessing
from service.data.preprocess.sources import table_from_rows, table_from_staged
from service.data.staging import ReadLimits
from service.errors import InvalidData
from service.serving.exports import standalone as loader
from service.serving.exports.csv_columns import read_columns
from service.serving.exports.model import TrainedModel
from service.spec.read_options import ReadOptions
from service.spec.table import ColumnType
from tests.serving.exports.networks import DATES, TARGETS, numbers, texts, untrained

LIMITS = ReadLimits(2**30, 2**30)
COLUMNS = ["size", "city", "when", "smoker"]
FEATURES = [
    numbers("size", [1.0, 2.0, math.nan, 4.0]),
    texts("city", "Ulm", "Böblingen", "-", other=True),
    numbers("when", [1e9 + date for date in DATES], kind=ColumnType.datetime),
    numbers("smoker", [0.0, 1.0], kind=ColumnType.boolean),
]


def model_of(nulls: list[str] | None = None, date_format: str | None = None) -> TrainedModel:
    nulls = ["unknown", "-", "-999"] if nulls is None else nulls
    fitted = Preprocessing(features=FEATURES, target=TARGETS[0], null_values=nulls, date_format=date_format)
    return TrainedModel([untrained(fitted)])


def by_service(model: TrainedModel, file: Path, folder: Path) -> dict[str, list[Any]]:
    """The values of the columns as the service reads them."""
    folder.mkdir(exist_ok=True)
    rows = read_rows(file, folder, ReadOptions(), model.preprocessing, LIMITS)
    return {n: c.tolist() for n, c in table_from_staged(folder, model.preprocessing, range(rows)).columns.items()}


def by_bundle(model: TrainedModel, file: Path) -> dict[str, list[Any]]:
    return read_columns(file, model.description)[1]


def assert_same(model: TrainedModel, found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    assert found.keys() == expected.keys()
    for feature in model.preprocessing.features:
        one, other = found[feature.column], expected[feature.column]
        if feature.categories is not None:
            longest = max(map(len, feature.categories), default=0) + 1
            assert [text and text[:longest] for text in one] == other
        else:
            finite = [value if math.isfinite(value) else math.nan for value in one]
            np.testing.assert_array_equal(finite, other)


SAME = {
    "comma": b"size,city,when,smoker\n2.5,Ulm,2024-05-01,true\n-999,-,2024-05-01T10:30:00Z,false\n",
    "semicolon": b"size;city;when;smoker\n2,5;Ulm;2024-05-01;true\n-999;unknown;unknown;false\n",
    "tab, other order, other column": b"smoker\tmore\tcity\twhen\tsize\nyes\tx\tUlm\t2024-05-01\t1e3\n",
    "bar": b"size|city|when|smoker\n1|Ulm|2024-05-01|n\n",
    "thousands": b'size,city,when,smoker\n"$1,234.50",Ulm,2024-05-01,1\n"(1,000)",Ulm,2024-05-01,0\n',
    "percent": b"size,city,when,smoker\n12.5%,Ulm,2024-05-01,1\n50%,Ulm,2024-05-01,0\n",
    "no number is infinite": b"size,city,when,smoker\ninf,Ulm,2024-05-01,1\n1e999,Ulm,2024-05-01,0\n",
    "utf-16": "size,city,when,smoker\n1,Böblingen,2024-05-01,1\n".encode("utf-16"),
    "utf-8 with a byte order mark": "\ufeffsize,city,when,smoker\n1,Böblingen,2024-05-01,1\n".encode(),
    "cp1252": "size,city,when,smoker\n1,Böblingen,2024-05-01,1\n".encode("cp1252"),
    "carriage returns": b"size,city,when,smoker\r1,Ulm,2024-05-01,1\r\n\r\n2,Ulm,2024-05-01,0\n",
    "separator line": b"sep=;\nsize;city;when;smoker\n1;Ulm;2024-05-01;1\n",
    "title": b"Sales of May\n\nsize,city,when,smoker\n1,Ulm,2024-05-01,1\n2,Ulm,2024-05-01,0\n",
    "single quotes": b"size,city,when,smoker\n1,'Ulm',2024-05-01,1\n2,'a,b',2024-05-01,0\n",
    "lines in quotes": b'size,city,when,smoker\n1,"a\nb",2024-05-01,1\n2,"a""b",2024-05-01,0\n',
    "space before a value": b"size,city,when,smoker\n 1, Ulm,2024-05-01,1\n",
    "quotes within quotes": b'size,city,when,smoker\n1,"say ""x""",2024-05-01,1\n1,"""",2024-05-01,1\n',
    "row index": b",size,city,when,smoker\n0,1,Ulm,2024-05-01,1\n1,2,Ulm,2024-05-01,0\n",
    "only missing values": b"size,city,when,smoker\nunknown,unknown,unknown,unknown\n",
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_it_is_read_as_the_service_reads_it(tmp_path: Path, content: bytes) -> None:
    model, file = model_of(), tmp_path / "rows.csv"
    file.write_bytes(content)

    assert_same(model, by_bundle(model, file), by_service(model, file, tmp_path / "staged"))


@pytest.mark.parametrize("written", ["13/02/2024", "13/02/2024 10:30", "13/02/2024 10:30:59", "2024-02-13"])
def test_its_dates_are_those_of_the_data_set(tmp_path: Path, written: str) -> None:
    model, file = model_of(date_format="%d/%m/%Y"), tmp_path / "rows.csv"
    file.write_text(f"size,city,when,smoker\n1,Ulm,{written},1\n2,Ulm,unknown,0\n")

    assert_same(model, by_bundle(model, file), by_service(model, file, tmp_path / "staged"))


REFUSED = {
    "an absent column": (b"size,town,when,smoker\n1,Ulm,2024-05-01,1\n", "the file has no column 'city'"),
    "a number": (b"size,city,when,smoker\n1,Ulm,2024-05-01,1\nbig,Ulm,2024-05-01,1\n", "line 3, column 'size'"),
    "an ambiguous number": (b'size,city,when,smoker\n"1,234",Ulm,2024-05-01,1\n', "line 2, column 'size'"),
    "a date": (b"size,city,when,smoker\n1,Ulm,01/02/2024,1\n", "line 2, column 'when': a date"),
    "a boolean": (b"size,city,when,smoker\n1,Ulm,2024-05-01,perhaps\n", "line 2, column 'smoker': true or false"),
    "a short line": (b"size,city,when,smoker\n1,Ulm\n", "line 2"),
    "a long line": (b"size,city,when,smoker\n1,Ulm,2024-05-01,1,9\n", "line 2"),
    "no rows": (b"size,city,when,smoker\n", "no rows"),
    "nothing": (b"", "blank lines"),
    "a binary file": (b"PAR1\0\0\0", "NUL"),
    "names that repeat": (b"size,city,when,smoker,size\n1,Ulm,2024-05-01,1,2\n", "unique"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_where_the_service_refuses_it(tmp_path: Path, content: bytes, said: str) -> None:
    model, file = model_of(), tmp_path / "rows.csv"
    file.write_bytes(content)

    with pytest.raises(InvalidData, match=said):
        by_bundle(model, file)
    with pytest.raises(InvalidData):
        by_service(model, file, tmp_path / "staged")


@pytest.mark.parametrize("value", ['x"y', ' "Ulm"', '"Ulm"x'])
def test_quotes_that_readers_of_csv_understand_differently_are_refused(tmp_path: Path, value: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"size,city,when,smoker\n1,{value},2024-05-01,1\n")

    with pytest.raises(InvalidData):
        by_bundle(model_of(), file)


def test_a_column_without_header_has_the_name_that_the_service_gives_it(tmp_path: Path) -> None:
    fitted = Preprocessing(features=[numbers("column1", [1.0, 2.0])], target=TARGETS[0], null_values=["", "NA"])
    model, file = TrainedModel([untrained(fitted)]), tmp_path / "rows.csv"
    for content in (b"1\n2\n", b"1,2\n3,4\n", b"column1\n1\n\n2\n\n", b"column1;x\n1,5;y\n"):
        file.write_bytes(content)

        assert_same(model, by_bundle(model, file), by_service(model, file, tmp_path / "staged"))


CELLS = {
    "size": st.sampled_from(["1", "-2.5", "1e3", "-999", "$1,234.5", "12%", "(3)", "1,5", "1,234", "x", " 7 ", ""]),
    "city": st.sampled_from(["Ulm", "Böblingen", "-", "unknown", "007", "a;b", 'a"b', "1,5", "", "-999"]),
    "when": st.sampled_from(["2024-05-01", "01.02.2024", "13.02.2024 10:30", "2024-05-01T10:30:00+02:00", "unknown"]),
    "smoker": st.sampled_from(["true", "FALSE", "yes", "0", "1", "unknown", "2", ""]),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=4),
    kept=st.lists(st.sampled_from(COLUMNS), min_size=3, max_size=4, unique=True),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    nulls=st.sampled_from([["unknown", "-", "-999"], []]),
    date_format=st.sampled_from([None, "%d.%m.%Y"]),
)
def test_any_file_is_read_as_the_service_reads_it_or_refused(
    tmp_path: Path,
    rows: list[dict[str, str]],
    kept: list[str],
    delimiter: str,
    encoding: str,
    nulls: list[str],
    date_format: str | None,
) -> None:
    model, file, text = model_of(nulls, date_format), tmp_path / "rows.csv", io.StringIO()
    writer = csv.DictWriter(text, kept, delimiter=delimiter, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    file.write_bytes(text.getvalue().encode(encoding))
    try:
        found = by_bundle(model, file)
    except InvalidData:
        return

    assert_same(model, found, by_service(model, file, tmp_path / "staged"))


ROWS: list[dict[str, Any]] = [
    {"size": -999, "city": "Ulm", "when": "2024-05-01", "smoker": True},
    {"size": "$1,234.50", "city": "-", "when": None, "smoker": False},
    {"size": 10**400, "city": "unknown", "when": "-", "smoker": 1},
    {"size": 2, "city": "Ulm", "when": "2024-05-01", "smoker": True, "y": "a"},
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_is_read_as_the_service_reads_it(row: dict[str, Any]) -> None:
    model = model_of()

    [answer] = model.standalone().predict([row])

    [expected] = model.predicted(table_from_rows([row], model.preprocessing))
    np.testing.assert_allclose([*answer["probabilities"].values()], expected, atol=1e-6)


@pytest.mark.parametrize(
    "row", [{"sizes": 1}, {"size": "big"}, {"city": 5}, {"when": 20240501}, {"when": "10:30"}, {"smoker": 7}], ids=str
)
def test_a_row_is_refused_where_the_service_refuses_it(row: dict[str, Any]) -> None:
    model = model_of()

    with pytest.raises(ValueError, match=next(iter(row))):
        model.standalone().predict([row])
    with pytest.raises(InvalidData):
        table_from_rows([row], model.preprocessing)


def test_no_rows_give_no_predictions() -> None:
    assert model_of().standalone().predict([]) == []


def test_from_a_terminal_a_file_that_is_refused_ends_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = model_of(), tmp_path / "rows.csv"
    file.write_text("size;town\n1;Ulm\n")
    monkeypatch.setattr(loader, "load", lambda _: model.standalone())

    with pytest.raises(SystemExit, match=r"rows\.csv: the file has no columns 'city', 'when', 'smoker', which"):
        loader.main(str(file))
