"""Tables that many tests read, and a reader for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from service.data.ingest.pipeline import read_table
from service.data.processes.runner import Allowance
from service.data.staging import ReadLimits
from service.spec.job import JobSpec
from service.spec.read_options import ReadAs, ReadOptions
from service.spec.resolve import Resolved, resolve
from service.spec.table import Column, TableProfile

PENGUINS = Path(__file__).parents[2] / "examples/penguins.csv"
DATASET = "ds_1"
MEMORY = 256 * 2**20
LIMITS = ReadLimits(MEMORY, 256 * 2**20)
ALLOWED = Allowance(memory_bytes=MEMORY, unpacked_bytes=2**30, seconds=60)


@dataclass(frozen=True)
class Stored:
    """A file that was read: its Parquet file, columns and warnings."""

    parquet: Path
    rows: int
    columns: list[Column]
    warnings: list[str]
    read_as: ReadAs
    duplicate_rows: int

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def values(self) -> list[tuple[Any, ...]]:
        return duckdb.read_parquet(str(self.parquet)).fetchall()

    def resolve(self, target: str, **fields: Any) -> Resolved:
        """A job on this table with `fields` of its spec set."""
        data = {"kind": "dataset", "id": DATASET, "target": target, **fields.pop("data", {})}
        spec = JobSpec.model_validate({"data": data, **fields})
        return resolve(spec, self.profile)

    @property
    def profile(self) -> TableProfile:
        return TableProfile(
            rows=self.rows,
            columns=self.columns,
            duplicate_rows=self.duplicate_rows,
            index_column=self.read_as.index_column,
        )


def store(folder: Path, content: str | bytes | Path, limits: ReadLimits = LIMITS, **options: Any) -> Stored:
    """Read a file in this process, without limits on memory and time."""
    source = content if isinstance(content, Path) else folder / "source"
    if not isinstance(content, Path):
        source.write_bytes(content.encode() if isinstance(content, str) else content)
    parquet = folder / "table.parquet"
    found = read_table([source], [source.name], parquet, ReadOptions.model_validate(options), limits)
    return Stored(parquet, found.rows, found.columns, found.warnings, found.read_as, found.duplicate_rows)
