"""Detection of dialect, encoding, compression and dates, and the options that override it."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from service.errors import InvalidData
from tests.data.files import CSV, ROWS
from tests.data.tables import store


def test_a_european_spreadsheet_is_read(tmp_path: Path) -> None:
    text = "Größe;Tag;n\n1,5;31.12.2020;1\n-2,25;01.02.2021 10:30;2\n"

    stored = store(tmp_path, text.encode("cp1252"))

    assert stored.values() == [(1.5, datetime(2020, 12, 31), 1), (-2.25, datetime(2021, 2, 1, 10, 30), 2)]
    assert stored.read_as.model_dump(mode="json", exclude_none=True) == {
        "format": "csv",
        "encoding": "cp1252",
        "delimiter": ";",
        "quote": '"',
        "header": True,
        "decimal": ",",
        "date_format": "%d.%m.%Y",
    }


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gzip"), (zstd.compress, "zstd")])
def test_compression_is_detected_by_its_magic_number(tmp_path: Path, pack: Any, name: str) -> None:
    stored = store(tmp_path, pack(CSV))

    assert (stored.values(), stored.read_as.compression) == ([(1, "x"), (2, "y")], name)


def test_concatenated_compressed_streams_are_one_file(tmp_path: Path) -> None:
    for pack in (gzip.compress, zstd.compress):
        assert store(tmp_path, pack(CSV) + pack(b"3,z\n")).rows == 3


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark_is_detected(tmp_path: Path, encoding: str) -> None:
    stored = store(tmp_path, "a,größe\n1,2\n".encode(encoding))

    assert ([c.name for c in stored.columns], stored.read_as.encoding) == (["a", "größe"], encoding)


def test_single_quotes_are_quotes_where_no_double_ones_are_seen(tmp_path: Path) -> None:
    single, apostrophe = "'a','b'\n1,'x, y'\n2,'z'\n", "a,b\n1,'tis\n2,o'clock\n"

    assert store(tmp_path, single).values() == [(1, "x, y"), (2, "z")]
    assert store(tmp_path, apostrophe).values() == [(1, "'tis"), (2, "o'clock")]


@pytest.mark.parametrize(
    ("options", "names", "values"),
    [
        ({}, ["a", "b;c"], [(1, "x;'y'")]),
        ({"delimiter": ";"}, ["a,b", "c"], [("1,x", "y")]),
        ({"delimiter": ";", "quote": ""}, ["a,b", "c"], [("1,x", "'y'")]),
        ({"header": False}, ["column1", "column2"], [("a", "b;c"), ("1", "x;'y'")]),
        ({"null": ["1"]}, ["a", "b;c"], [(None, "x;'y'")]),
    ],
)
def test_options_override_detection(
    tmp_path: Path, options: dict[str, Any], names: list[str], values: list[Any]
) -> None:
    stored = store(tmp_path, "a,b;c\n1,x;'y'\n", **options)

    assert ([c.name for c in stored.columns], stored.values()) == (names, values)
    assert not any("line" in warning for warning in stored.warnings)


def test_without_quotes_a_quote_is_a_character(tmp_path: Path) -> None:
    assert store(tmp_path, 'a,b\n1,"x\n2,y"\n', quote="").values() == [(1, '"x'), (2, 'y"')]


def test_a_quote_that_is_the_delimiter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="delimiter and quote are both"):
        store(tmp_path, CSV, delimiter="'", quote="'")


def test_the_encoding_option_is_used_and_errors_have_a_line(tmp_path: Path) -> None:
    text = "a,b\n1,щ\n".encode("cp1251")

    assert store(tmp_path, text, encoding="cp1251").values() == [(1, "щ")]
    with pytest.raises(InvalidData, match="line 2 is not utf-8, as encoding= says"):
        store(tmp_path, text, encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "options", "values"),
    [
        ("a;b\n1,5;x\n2;y\n", {}, [1.5, 2.0]),
        ("a;b\n1,5;x\n2;y\n", {"decimal": "."}, ["1,5", "2"]),
        ('a,b\n"1,500",x\n"2,5",y\n', {}, ["1,500", "2,5"]),
        ('a,b\n"1,500",x\n"2,5",y\n', {"decimal": ","}, [1.5, 2.5]),
        ("a;b\n1.5;x\n2.5;y\n", {"decimal": ","}, ["1.5", "2.5"]),
    ],
)
def test_a_comma_is_a_decimal_sign_where_it_separates_nothing_or_the_client_says_so(
    tmp_path: Path, text: str, options: dict[str, Any], values: list[object]
) -> None:
    assert [row[0] for row in store(tmp_path, text, **options).values()] == values


def test_commas_and_points_in_one_file_are_warned_of(tmp_path: Path) -> None:
    [warning] = store(tmp_path, "a;b\n1,5;1.250\n2,5;2.125\n").warnings

    assert warning.startswith("numbers have a decimal comma in 'a', but a point in 'b'")


@pytest.mark.parametrize(
    ("values", "date_format", "first"),
    [
        (["25/12/2020", "01/02/2020"], "%d/%m/%Y", (2020, 12, 25)),
        (["12/25/2020", "1/2/2020"], "%m/%d/%Y", (2020, 12, 25)),
        (["25.12.20", "1.2.20"], "%d.%m.%y", (2020, 12, 25)),
        (["25 Dec 2020", "01 Feb 2020"], "%d %b %Y", (2020, 12, 25)),
        (["25-12-2020 10:00:00", "01-02-2020 11:00:00"], "%d-%m-%Y", (2020, 12, 25, 10)),
        (["2020-12-25", "2020-02-01"], None, (2020, 12, 25)),
    ],
)
def test_the_way_dates_are_written_is_found(
    tmp_path: Path, values: list[str], date_format: str | None, first: tuple[int, ...]
) -> None:
    stored = store(tmp_path, "when\n" + "\n".join(values) + "\n")

    assert (stored.values()[0], stored.read_as.date_format, stored.warnings) == ((datetime(*first),), date_format, [])


def test_a_column_that_leaves_day_and_month_open_follows_one_that_does_not(tmp_path: Path) -> None:
    stored = store(tmp_path, "a,b\n03/04/2020,25/01/2021\n05/06/2020,01/02/2020\n")

    assert (stored.values()[0][0], stored.warnings) == (datetime(2020, 4, 3), [])


def test_ambiguous_dates_are_warned_of_and_the_option_decides(tmp_path: Path) -> None:
    text = "when\n03/04/2020\n05/06/2020\n"

    found, told = store(tmp_path, text), store(tmp_path, text, date_format="%d/%m/%Y")

    assert "ambiguous dates, read as %m/%d/%Y but %d/%m/%Y fits too" in found.warnings[0]
    assert (told.warnings, told.column("when").type.value) == ([], "datetime")


def test_a_date_format_of_the_client_comes_before_numbers(tmp_path: Path) -> None:
    stored = store(tmp_path, "when,n\n20201225,1\n20200201,2\n", date_format="%Y%m%d")

    assert stored.values() == [(datetime(2020, 12, 25), 1), (datetime(2020, 2, 1), 2)]


def test_a_date_format_that_fits_nothing_says_so_and_one_that_is_none_is_refused(tmp_path: Path) -> None:
    assert store(tmp_path, CSV, date_format="%d.%m.%Y").warnings == ["no column has dates in the format '%d.%m.%Y'"]
    with pytest.raises(InvalidData, match="date_format '%Q' is invalid"):
        store(tmp_path, CSV, date_format="%Q")


@pytest.mark.parametrize(
    ("content", "asked", "reason"),
    [
        (ROWS, "csv", "format=csv was asked for, but the file's first bytes are those of parquet"),
        (CSV, "parquet", "format=parquet was asked for, but the file's first bytes are those of text"),
        (CSV, "jsonl", "line 1, column 1 is not JSON"),
    ],
)
def test_a_format_that_contradicts_the_bytes_is_refused(
    tmp_path: Path, content: bytes, asked: str, reason: str
) -> None:
    with pytest.raises(InvalidData, match=reason):
        store(tmp_path, content, format=asked)


def test_the_format_option_overrides_text_detection(tmp_path: Path) -> None:
    text = '{"a"\n1\n'

    assert store(tmp_path, text, format="csv", quote="").columns[0].name == '{"a"'


def test_times_with_an_offset_are_kept_in_utc_and_those_without_as_they_are(tmp_path: Path) -> None:
    stored = store(tmp_path, "at,x\n2024-01-01T00:30:00+02:00,1\n2024-01-01T00:30:00Z,2\n2024-01-01 00:30:00,3\n")

    assert [at for at, _ in stored.values()] == [
        datetime(2023, 12, 31, 22, 30),
        datetime(2024, 1, 1, 0, 30),
        datetime(2024, 1, 1, 0, 30),
    ]
