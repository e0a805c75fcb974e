"""Export of a stored table as CSV: round trip, and limits of the child process."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from service.data.processes.export_csv import export_csv
from service.data.processes.ingest import ingest
from service.data.processes.runner import Allowance
from service.errors import DatasetCorrupt, TooLarge
from service.spec.read_options import ReadOptions
from tests.data.files import parquet

ALLOWED = Allowance(memory_bytes=2**28, unpacked_bytes=2**20, seconds=60)


@pytest.mark.slow
def test_exported_csv_round_trip(tmp_path: Path) -> None:
    rows = "SELECT range / 3 AS n, CASE WHEN range > 2 THEN 'a, \"' || range END AS t, range = 5 AS b FROM range(50)"
    (tmp_path / "source").write_bytes(parquet(rows))
    first = ingest(tmp_path / "source", tmp_path / "table", ReadOptions(), ALLOWED)

    sha256 = export_csv(tmp_path / "table", tmp_path / "csv", ALLOWED)

    again = ingest(tmp_path / "csv", tmp_path / "again", ReadOptions(), ALLOWED)
    assert again.columns == first.columns
    assert sha256 == hashlib.sha256((tmp_path / "csv").read_bytes()).hexdigest()
    assert sha256 == export_csv(tmp_path / "table", tmp_path / "other", ALLOWED)


def test_a_table_that_is_damaged_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(parquet("SELECT 1 AS a")[:-9])

    with pytest.raises(DatasetCorrupt, match="cannot be written as CSV"):
        export_csv(tmp_path / "table", tmp_path / "csv", ALLOWED)


def test_a_small_file_that_would_be_a_huge_csv_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(parquet("SELECT repeat('x', 1000) AS a FROM range(80_000)"))

    with pytest.raises(TooLarge, match="more disk space"):
        export_csv(tmp_path / "table", tmp_path / "csv", ALLOWED.model_copy(update={"unpacked_bytes": 1}))
