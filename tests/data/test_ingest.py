"""Ingestion in a child process: the same result as in this one, and limits that hold."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from service.data.processes.ingest import ingest
from service.errors import InvalidData, StorageError
from service.spec.read_options import ReadOptions
from tests.data.tables import ALLOWED, PENGUINS, store

OPTIONS = ReadOptions()
LITTLE = ALLOWED.model_copy(update={"memory_bytes": 64 * 2**20})


def test_a_file_becomes_parquet_with_its_profile_and_checksum(tmp_path: Path) -> None:
    parquet = tmp_path / "out.parquet"

    ingested = ingest(PENGUINS, parquet, OPTIONS, ALLOWED)

    (tmp_path / "other").mkdir()
    expected = store(tmp_path / "other", PENGUINS)
    assert (ingested.rows, ingested.columns) == (344, expected.columns)
    assert ingested.parquet_sha256 == hashlib.sha256(parquet.read_bytes()).hexdigest()
    assert ingested.parquet_bytes == parquet.stat().st_size
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("ingest-")] == []


def test_the_null_values_of_the_client_replace_the_usual_ones(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("x,y\n1,NA\n-999,b\n")

    ingested = ingest(
        source,
        tmp_path / "out.parquet",
        ReadOptions(null=["-999"]),
        ALLOWED,
    )

    assert [(c.missing, c.distinct) for c in ingested.columns] == [(1, 1), (0, 2)]


def test_an_error_in_the_file_is_reported_by_the_child(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("x,y\n1\n")

    with pytest.raises(InvalidData, match="line 2 has 1 value where 2 columns are named"):
        ingest(source, tmp_path / "out.parquet", OPTIONS, ALLOWED)

    assert list(tmp_path.iterdir()) == [source]


def test_a_file_that_needs_too_much_memory_is_refused_naming_the_limit(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("\n".join(",".join(f"{letter}{i}" for i in range(10_000)) for letter in "abc"))

    with pytest.raises(InvalidData, match="needs more than 64 MiB of memory"):
        ingest(source, tmp_path / "out.parquet", OPTIONS, LITTLE)


def test_a_small_file_is_read_in_the_least_memory_that_can_be_set(tmp_path: Path) -> None:
    assert ingest(PENGUINS, tmp_path / "out.parquet", OPTIONS, LITTLE).rows == 344


def test_a_file_that_takes_too_long_is_refused_naming_the_limit(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"took longer than 0\.01 seconds"):
        ingest(PENGUINS, tmp_path / "out.parquet", OPTIONS, ALLOWED.model_copy(update={"seconds": 0.01}))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("death", "reason"), [("SEGV", "ended unexpectedly"), ("KILL", "more than 256 MiB of memory")])
def test_a_crashed_child_is_invalid_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: str, reason: str
) -> None:
    dying = tmp_path / "python"
    dying.write_text(f"#!/bin/sh\nkill -{death} $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))

    with pytest.raises(InvalidData, match=reason):
        ingest(PENGUINS, tmp_path / "out.parquet", OPTIONS, ALLOWED)


def test_a_missing_source_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        ingest(tmp_path / "gone.csv", tmp_path / "out.parquet", OPTIONS, ALLOWED)


def test_the_module_starts_without_the_readers_of_tables() -> None:
    code = "import sys, service.data.ingest; print(sorted({'duckdb', 'numpy', 'torch'} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"
