"""The Parquet reader: the file's own types, every compression."""

from __future__ import annotations

import gzip
from datetime import datetime, time
from pathlib import Path

import pytest

from service.data.formats import parquet as parquet_format
from tests.data.files import parquet
from tests.data.tables import PENGUINS, store


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
    [
        ("7::TINYINT", "integer", 7),
        ("7::UBIGINT", "integer", 7),
        ("2.5::FLOAT", "number", 2.5),
        ("3.0::DOUBLE", "integer", 3),
        ("1.25::DECIMAL(10, 3)", "number", 1.25),
        ("'01'", "text", "01"),
        ("'b'::ENUM('a', 'b')", "text", "b"),
        ("true", "boolean", True),
        ("NULL", "text", None),
        ("DATE '2020-01-31'", "datetime", datetime(2020, 1, 31)),
        ("TIMESTAMP '2020-01-31 10:00:00'", "datetime", datetime(2020, 1, 31, 10)),
        ("'2020-01-31 10:00:00+02'::TIMESTAMPTZ", "datetime", datetime(2020, 1, 31, 8)),
        ("TIMESTAMP_NS '2020-01-31 10:00:00'", "datetime", datetime(2020, 1, 31, 10)),
        ("TIME '10:00:00'", "datetime", time(10)),
        ("'2020-01-31'", "datetime", datetime(2020, 1, 31)),
    ],
)
def test_a_column_has_the_type_that_the_file_gives_it(tmp_path: Path, value: str, kind: str, stored: object) -> None:
    table = store(tmp_path, parquet(f"SELECT {value} AS x"))

    assert table.column("x").type.value == kind
    assert table.values() == [(stored,)]


def test_the_penguins_are_the_same_table_as_csv_and_as_parquet(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    csv = store(tmp_path / "csv", PENGUINS)

    again = store(tmp_path, csv.parquet.read_bytes())

    assert (again.columns, again.values()) == (csv.columns, csv.values())


def test_nan_and_infinite_numbers_count_as_missing(tmp_path: Path) -> None:
    stored = store(tmp_path, parquet("SELECT unnest([1.5, 'nan'::DOUBLE, 'inf'::DOUBLE]) AS x"))

    assert stored.values() == [(1.5,), (None,), (None,)]
    assert stored.warnings[0] == "column 'x': 2 infinite or NaN values count as missing"


def test_texts_of_the_client_are_missing_values(tmp_path: Path) -> None:
    stored = store(tmp_path, parquet("SELECT unnest(['NA', 'b']) AS t, unnest([-999, 3]) AS n"), null=["NA", "-999"])

    assert stored.values() == [(None, None), ("b", 3)]


def test_parquet_inside_gzip_is_read(tmp_path: Path) -> None:
    stored = store(tmp_path, gzip.compress(parquet("SELECT 1 AS a")))

    assert (stored.values(), stored.read_as.format.value, stored.read_as.compression) == ([(1,)], "parquet", "gzip")


def test_more_columns_than_a_slice_holds_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_format, "SLICE_COLUMNS", 2)

    assert store(tmp_path, parquet('SELECT 1 AS a, \'x\' AS b, 3 AS "c """, 4 AS d, 5 AS e')).values() == [
        (1, "x", 3, 4, 5)
    ]
