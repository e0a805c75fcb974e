"""SQL helpers for DuckDB: quoting, aggregates of many columns in one query, type names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from duckdb import DuckDBPyConnection

NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "float", "double", "decimal")
STAMPS = ("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone")
TEXTS = ("varchar", "enum", "uuid")
PLAIN = {*NUMBERS, *(f"u{name}" for name in NUMBERS), *STAMPS, *TEXTS, "boolean", "time", "null"}
"""Names of the DuckDB types that a column may have."""


def sql_text(value: str) -> str:
    """`value` as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def sql_name(value: str) -> str:
    """`value` as an SQL identifier."""
    return '"' + value.replace('"', '""') + '"'


def aggregate(connection: DuckDBPyConnection, rows: str, expressions: Iterable[Sequence[str]]) -> list[tuple[Any, ...]]:
    """The values of each group of aggregate expressions over `rows`, an SQL FROM item, in one query."""
    groups = list(expressions)
    wanted = ", ".join(expression for group in groups for expression in group)
    values: Iterator[Any] = iter(())
    if wanted:
        [row] = connection.execute(f"FROM {rows} SELECT {wanted}").fetchall()
        values = iter(row)
    return [tuple(next(values) for _ in group) for group in groups]
