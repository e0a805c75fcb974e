"""Duplicate rows of a table, counted by hashes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from duckdb import DuckDBPyConnection

from service.data.staging import Slice, parquet_sql, write_parquet
from service.spec.table import Column

HASHES = 8_000_000
"""Hashes per query: each takes some 60 bytes."""


def duplicate_rows(
    connection: DuckDBPyConnection, slices: Sequence[Slice], columns: Sequence[Column], rows: int, work: Path
) -> int:
    """Number of rows that equal an earlier one in all `columns`; missing values are equal.

    Compares 64-bit hashes: among a hundred million distinct rows there is a collision in one of some 4,000 tables.

    Leaves files in the folder `work`, with one hash per row and slice.
    """
    if any(column.distinct == rows for column in columns):
        return 0
    hashes = [work / f"hashes{number}.parquet" for number in range(len(slices))]
    for part, path in zip(slices, hashes, strict=True):
        values = ", ".join(f"c{i}" for i in range(len(part.names)))
        write_parquet(connection.sql(f"FROM {parquet_sql(part.path)} SELECT hash({values}) AS h"), path, 1)
    joined = " POSITIONAL JOIN ".join(f"{parquet_sql(path)} AS s{number}" for number, path in enumerate(hashes))
    row = ", ".join(f"s{number}.h" for number in range(len(hashes)))
    whole_rows = f"(FROM {joined} SELECT hash({row}) AS h)"
    shares = -(-rows // HASHES)
    different = 0
    for share in range(shares):
        query = f"FROM {whole_rows} SELECT count(DISTINCT h) WHERE h % {shares} = {share}"
        [(found,)] = connection.execute(query).fetchall()
        different += int(found)
    return rows - different
