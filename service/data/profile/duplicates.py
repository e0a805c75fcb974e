"""How many rows of a table equal an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from duckdb import DuckDBPyConnection

from service.data.staging import Slice, parquet_sql, write_parquet
from service.spec.table import Column

HASHES = 8_000_000
"""About how many rows are told apart at once: each takes some 60 bytes."""


def duplicate_rows(
    connection: DuckDBPyConnection, slices: Sequence[Slice], columns: Sequence[Column], rows: int, work: Path
) -> int:
    """Rows that equal an earlier one in all `columns`, missing values being equal; told by 64 bits of a row's values,
    so of a hundred million different rows two are taken for equal once in some 4,000 tables.

    Leaves files in the folder `work`, one number a row for each slice.
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
