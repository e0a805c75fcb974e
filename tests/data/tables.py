"""CSV files that many tests read, and what reading one gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from service.data.ingest import DEFAULT_NULL_VALUES
from service.data.read_csv import read_csv
from service.spec.job import JobSpec
from service.spec.resolve import Resolved, resolve
from service.spec.table import Column, TableProfile

PENGUINS = Path(__file__).parents[2] / "examples/penguins.csv"
DATASET = "ds_1"
MEMORY = 256 * 2**20


@dataclass(frozen=True)
class Stored:
    """A file that was read: its Parquet file, columns and warnings."""

    parquet: Path
    rows: int
    columns: list[Column]
    warnings: list[str]

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def values(self) -> list[tuple[Any, ...]]:
        return duckdb.read_parquet(str(self.parquet)).fetchall()

    def resolve(self, target: str, **fields: Any) -> Resolved:
        """A job on this table with `fields` of its spec set."""
        data = {"kind": "dataset", "id": DATASET, "target": target, **fields.pop("data", {})}
        spec = JobSpec.model_validate({"data": data, **fields})
        return resolve(spec, TableProfile(rows=self.rows, columns=self.columns))


def store(folder: Path, content: str | bytes | Path) -> Stored:
    """Read a CSV file in this process, without limits."""
    source = content if isinstance(content, Path) else folder / "source.csv"
    if not isinstance(content, Path):
        source.write_bytes(content.encode() if isinstance(content, str) else content)
    return Stored(folder / "table.parquet", *read_csv(source, folder / "table.parquet", DEFAULT_NULL_VALUES, MEMORY))
