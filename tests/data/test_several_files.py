"""Several files as one table."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.formats import csv
from service.data.ingest import several_files
from service.data.ingest.pipeline import read_table
from service.data.staging import ReadLimits
from service.errors import InvalidData, TooLarge
from service.spec.read_options import ReadOptions
from service.spec.table import Ingested
from tests.examples import sampled

LIMITS = ReadLimits(memory_bytes=2**28, unpacked_bytes=2**20)


def ingested(folder: Path, files: dict[str, str | bytes], limits: ReadLimits = LIMITS, **options: object) -> Ingested:
    """The table of these files, by name; its Parquet file is `table.parquet`."""
    (folder / "work").mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    sources, chosen = [folder / name for name in files], ReadOptions.model_validate(options)
    return read_table(sources, list(files), folder / "work/table.parquet", chosen, limits)


def rows(folder: Path) -> list[tuple[object, ...]]:
    return duckdb.sql(f"FROM read_parquet('{folder / 'work/table.parquet'}')").fetchall()


def test_types_are_inferred_from_the_values_of_all_files(tmp_path: Path) -> None:
    found = ingested(tmp_path, {"a": "n,t\n1,1\n2,2\n", "b": "n,t\n1.5,x\n,3\n"})

    assert [column.type for column in found.columns] == ["number", "text"]
    assert rows(tmp_path) == [(1.0, "1"), (2.0, "2"), (1.5, "x"), (None, "3")]


def test_columns_are_matched_by_name_in_the_order_of_the_files(tmp_path: Path) -> None:
    found = ingested(tmp_path, {"a": "x,y\n1,2\n", "b": "z,x\n3,4\n"})

    assert [column.name for column in found.columns] == ["x", "y", "z"]
    assert rows(tmp_path) == [(1, 2, None), (4, None, 3)]
    assert found.warnings[:2] == [
        "column 'y' is missing in 1 of 2 files: 'b'",
        "column 'z' is missing in 1 of 2 files: 'a'",
    ]


def test_a_column_without_values_in_one_file_has_the_type_of_the_others(tmp_path: Path) -> None:
    found = ingested(tmp_path, {"a": '{"x": null, "y": null}\n', "b": '{"x": 2.5, "y": null}\n'})

    assert [column.type for column in found.columns] == ["number", "text"]
    assert rows(tmp_path) == [(None, None), (2.5, None)]


def test_parquet_files_of_different_number_types_are_one_column(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {}
    for name, sql in {"a": "SELECT 1::SMALLINT AS n, 'x' AS t", "b": "SELECT 2.5::DOUBLE AS n, 'y' AS t"}.items():
        duckdb.sql(sql).write_parquet(str(tmp_path / "part"))
        files[name] = (tmp_path / "part").read_bytes()

    ingested(tmp_path, files)

    assert rows(tmp_path) == [(1.0, "x"), (2.5, "y")]


def test_more_columns_than_a_slice_keep_their_rows_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "SLICE_COLUMNS", 100)
    monkeypatch.setattr(several_files, "SLICE_COLUMNS", 100)
    names = [f"c{i}" for i in range(210)]
    lines = [",".join(names), ",".join(str(i) for i in range(210))]
    turned = [",".join(reversed(names)), ",".join(str(i + 5_000) for i in reversed(range(210)))]

    ingested(tmp_path, {"a": "\n".join(lines) + "\n", "b": "\n".join(turned) + "\n"})

    first, second = rows(tmp_path)
    assert first == tuple(range(210))
    assert second == tuple(range(5_000, 5_210))


CELL = st.one_of(st.none(), st.integers(-(10**6), 10**6))


@given(st.lists(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), min_size=1, max_size=4))
@sampled(8, 25)
def test_splitting_a_file_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[int | None, int | None]]]
) -> None:
    def as_csv(lines: list[tuple[int | None, int | None]]) -> str:
        return "".join(["a,b\n", *(f"{'' if a is None else a},{'NA' if b is None else b}\n" for a, b in lines)])

    one, several = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("several")
    options = {"format": "csv", "header": True, "delimiter": ","}
    try:
        whole = ingested(one, {"all": as_csv([line for part in parts for line in part])}, **options)
    except InvalidData:
        return  # nothing but missing values
    split = ingested(several, {f"{number}": as_csv(part) for number, part in enumerate(parts)}, **options)

    assert split.columns == whole.columns
    assert rows(several) == rows(one)


def test_files_of_different_formats_are_refused_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"a is csv, but b is jsonl"):
        ingested(tmp_path, {"a": "x,y\n1,2\n", "b": '{"x": 1}\n'})


def test_a_fault_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"^b: "):
        ingested(tmp_path, {"a": "x,y\n1,2\n", "b": "x,y\n1,2,3,4\n5\n"})


def test_the_decompressed_bytes_of_all_files_are_limited(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {name: gzip.compress(b"x\n" + b"1\n" * 400) for name in "ab"}

    with pytest.raises(TooLarge, match=r"the files decompress to more than 1,000 bytes"):
        ingested(tmp_path, files, ReadLimits(memory_bytes=2**28, unpacked_bytes=1_000))
