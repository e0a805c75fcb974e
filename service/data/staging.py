"""Staging: the result of every format reader, a table in slices of columns, and Parquet helpers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from duckdb import DuckDBPyRelation

from service.data.sql import sql_text
from service.spec.read_options import ReadAs
from service.spec.table import ColumnType

SLICE_COLUMNS = 1_000
"""Columns per slice, so that memory does not grow with the width of a table."""
ROW_GROUP_CELLS = 4_000_000


@dataclass(frozen=True)
class ReadLimits:
    """Limits for reading one file."""

    memory_bytes: int
    unpacked_bytes: int
    profile_bytes: int = 16 * 2**20  # values listed in the profile


@dataclass(frozen=True)
class RawSlice:
    """Some columns of a file before type inference: `sql`, an SQL FROM item, has them as c0, c1, ... in the order of
    `names`."""

    sql: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Slice:
    """Some columns of a typed table: the Parquet file `path` has them as c0, c1, ... in the order of `names`."""

    path: Path
    names: tuple[str, ...]
    types: tuple[ColumnType, ...]


@dataclass(frozen=True)
class Reading:
    """What a format reader returns: the file split into columns, rows in the file's order in every slice.

    Texts contain no NUL, and names have passed `check_names`.
    """

    slices: tuple[RawSlice, ...]
    rows: int
    read_as: ReadAs
    null_values: tuple[str, ...] = ()  # texts that mean a missing value
    typed: bool = True  # false: all values are text that may represent numbers or booleans; missing ones are NULL
    labels: bool = False  # true: texts are labels, never dates
    warnings: tuple[str, ...] = ()
    line_of: Callable[[int], int] | None = None  # row number from 1 -> line number, for text files


def parquet_sql(path: Path) -> str:
    """The rows of a Parquet file, as an SQL FROM item."""
    return f"read_parquet({sql_text(str(path))})"


def numbered_parquet_sql(path: Path) -> str:
    """The same with the additional column `file_row_number`."""
    return f"read_parquet({sql_text(str(path))}, file_row_number = true)"


def sampled(rows: int, most: int) -> str:
    """SQL condition: all `rows` of a numbered file, or a deterministic random sample of about `most` of them."""
    return "true" if rows <= most else f"hash(file_row_number) % {-(-rows // most)} = 0"


def write_parquet(relation: DuckDBPyRelation, path: Path, columns: int) -> None:
    """Write a relation with this number of columns; row groups are smaller for wide tables."""
    group = max(2_048, min(122_880, ROW_GROUP_CELLS // columns))
    relation.write_parquet(str(path), compression="zstd", row_group_size=group)
