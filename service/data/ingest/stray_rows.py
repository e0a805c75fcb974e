"""Rows of a CSV file that are no observations: empty ones are skipped, a closing total is warned of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from duckdb import DuckDBPyConnection

from service.data.sql import aggregate, sql_text
from service.data.staging import RawSlice, Reading

TOTAL = re.compile(r"\s*(grand |overall |sub)?(total|totals|sum|summe|gesamt|insgesamt|somme)\s*:?\s*", re.IGNORECASE)


def without_empty_rows(connection: DuckDBPyConnection, reading: Reading) -> Reading:
    """`reading` without the rows that have no value at all, and with a warning that counts them.

    Only for CSV, and tables of one slice with two columns or more; a table of empty rows alone stays as it is.
    """
    if reading.typed or len(reading.slices) > 1 or len(reading.slices[0].names) < 2:
        return reading
    [raw] = reading.slices
    value = f"coalesce({', '.join(f'c{i}' for i in range(len(raw.names)))})"
    [(rows,)] = aggregate(connection, raw.sql, [[f"count({value})"]])
    empty = reading.rows - rows
    if not empty or not rows:
        return reading
    warning = f"{empty:,} row{'s' * (empty != 1)} without any value {'were' if empty != 1 else 'was'} skipped"
    kept = RawSlice(f"(FROM {raw.sql} WHERE {value} IS NOT NULL)", raw.names)
    return replace(reading, slices=(kept,), rows=rows, warnings=(*reading.warnings, warning))


def total_row(connection: DuckDBPyConnection, reading: Reading) -> Iterator[str]:
    """A warning where the last row of a CSV file has a word such as "Total" that no other row has in its column."""
    if reading.typed or reading.rows < 3:
        return
    for raw in reading.slices:
        [last] = connection.execute(f"FROM {raw.sql} LIMIT 1 OFFSET {reading.rows - 1}").fetchall()
        for place, value in enumerate(last):
            if value is None or not TOTAL.fullmatch(value):
                continue
            [(rows,)] = aggregate(connection, raw.sql, [[f"count(*) FILTER (c{place} = {sql_text(value)})"]])
            if rows == 1:
                column = f"{value!r} in column {raw.names[place]!r}"
                yield f"the last row looks like a total ({column}): remove it from the file"
                return
