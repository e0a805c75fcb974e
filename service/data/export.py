"""A stored table as CSV, written in a child process: the API itself knows no duckdb."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from service.errors import DatasetCorrupt

EXPORT_SECONDS = 600.0


def export_csv(parquet: Path, csv: Path) -> str:
    """Write a table to the new file `csv`, the same bytes every time, missing values empty; its SHA-256.

    Blocks for `EXPORT_SECONDS` at most. Raises DatasetCorrupt when the table is missing or cannot be read.
    """
    command = [sys.executable, "-m", "service.data.export", str(parquet), str(csv)]
    try:
        subprocess.run(command, capture_output=True, timeout=EXPORT_SECONDS, check=True)
    except subprocess.SubprocessError as error:
        raise DatasetCorrupt from error
    with csv.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _main(parquet: str, csv: str) -> None:
    """In the child."""
    from service.data.sandbox import sandbox

    sandbox(Path(parquet), Path(csv).parent).read_parquet(parquet).write_csv(csv, header=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
