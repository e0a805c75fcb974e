"""Target leakage: columns that another column nearly determines, by Chatterjee's xi. See decision 20."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from service.data.profile.distribution import as_number
from service.data.staging import Slice, numbered_parquet_sql, sampled
from service.spec.table import Column, ColumnType

ROWS = 5_000
"""Size of the sample of rows, approximately."""
PAIRS = 40_000
"""Maximum number of column pairs: with more than 200 columns, only some are considered as targets."""
BATCH_COLUMNS = 50
MIN_XI = 0.95
MAX_LEAKS = 10


def add_leakage(
    connection: DuckDBPyConnection, slices: Sequence[Slice], columns: Sequence[Column], rows: int
) -> list[Column]:
    """`columns` with `given_away_by` set; in wide tables only for those near the ends, where targets usually are."""
    targets = _targets(columns)
    if not targets:
        return list(columns)
    values = dict(_sample(connection, slices, columns, rows, targets))
    ranked = {name: _Ranked(values[name]) for name in targets}
    leaks: dict[str, list[str]] = {name: [] for name in targets}
    differing = {column.name for column in columns if column.distinct + (column.missing > 0) > 1}
    for name, found in _sample(connection, slices, columns, rows, differing):
        order = np.argsort(found, kind="stable")  # ties keep the random order of the sample
        for target, ranks in ranked.items():
            if target != name and len(leaks[target]) < MAX_LEAKS and ranks.xi(order) >= MIN_XI:
                leaks[target].append(name)
    return [
        column.model_copy(update={"given_away_by": leaks[column.name]}) if leaks.get(column.name) else column
        for column in columns
    ]


def _targets(columns: Sequence[Column]) -> set[str]:
    """Names of the columns that may be a target, as many as PAIRS allows."""
    ends = [columns[-1 - n // 2 if n % 2 == 0 else n // 2] for n in range(len(columns))]
    possible = [
        column.name
        for column in ends
        if column.distinct > 1
        and column.type is not ColumnType.datetime
        and (column.type is not ColumnType.text or column.values is not None)
    ]
    return set(possible[: PAIRS // max(len(columns), 1)])


def _sample(
    connection: DuckDBPyConnection, slices: Sequence[Slice], columns: Sequence[Column], rows: int, names: set[str]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each column of these names with the values of the same sampled rows in the same random order; NaN if missing."""
    kinds = {column.name: column.type for column in columns}
    for part in slices:
        wanted = [i for i, name in enumerate(part.names) if name in names]
        for start in range(0, len(wanted), BATCH_COLUMNS):
            batch = wanted[start : start + BATCH_COLUMNS]
            values = ", ".join(f"{_as_float(f'c{i}', kinds[part.names[i]])} AS c{i}" for i in batch)
            found = connection.execute(
                f"FROM {numbered_parquet_sql(part.path)} SELECT {values}"
                f" WHERE {sampled(rows, ROWS)} ORDER BY hash(file_row_number)"
            ).fetchnumpy()
            yield from ((part.names[i], np.asarray(found[f"c{i}"])) for i in batch)


def _as_float(column: str, kind: ColumnType) -> str:
    """SQL of the values as floats; texts as hashes."""
    value = f"hash({column})::DOUBLE" if kind is ColumnType.text else as_number(column, kind)
    return f"CASE WHEN {column} IS NULL THEN 'nan'::DOUBLE ELSE coalesce({value}, 'inf'::DOUBLE) END"


class _Ranked:
    """Ranks of a possible target, over the rows that have a value."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._present = ~np.isnan(values)
        _, places, counts = np.unique(values[self._present], return_inverse=True, return_counts=True)
        up_to = np.cumsum(counts)
        n = len(places)
        self._ranks = np.zeros(len(values))
        self._ranks[self._present] = up_to[places]  # rows with a value up to this row's
        from_here = n - up_to + counts
        self._by_chance = 2 * float((from_here * (n - from_here) * counts).sum()) / max(n, 1)

    def xi(self, order: NDArray[np.int64]) -> float:
        """Chatterjee's xi given the `order` of rows by another column, ties in random order: 0 for independence, near 1
        if neighbouring rows have nearly the same value. (A New Coefficient of Correlation, 2021.)
        """
        if not self._by_chance:
            return 0.0
        ranks = self._ranks[order[self._present[order]]]
        return 1.0 - float(np.abs(np.diff(ranks)).sum()) / self._by_chance
