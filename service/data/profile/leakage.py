"""Which columns of a table are told by another one alone: a hint that it would leak a target. See decision 20."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from service.data.profile.distribution import on_a_line
from service.data.staging import Slice, numbered_parquet_sql, sampled
from service.spec.table import Column, ColumnType

ROWS = 5_000
"""About how many rows are looked at, drawn from all."""
PAIRS = 40_000
"""Pairs of columns at most: of more than 200 columns, fewer are taken for possible targets."""
BATCH_COLUMNS = 50
GIVEN_AWAY = 0.95
MAX_GIVERS = 10


def add_leakage(
    connection: DuckDBPyConnection, slices: Sequence[Slice], columns: Sequence[Column], rows: int
) -> list[Column]:
    """`columns` with `given_away_by` filled in; of wide tables for those nearest to the ends, where targets stand."""
    targets = _targets(columns)
    if not targets:
        return list(columns)
    values = dict(_sample(connection, slices, columns, rows, targets))
    ranked = {name: _Ranked(values[name]) for name in targets}
    givers: dict[str, list[str]] = {name: [] for name in targets}
    differing = {column.name for column in columns if column.distinct + (column.missing > 0) > 1}
    for name, found in _sample(connection, slices, columns, rows, differing):
        order = np.argsort(found, kind="stable")  # equal ones stay in the order of the sample, which is random
        for target, ranks in ranked.items():
            if target != name and len(givers[target]) < MAX_GIVERS and ranks.told_by(order) >= GIVEN_AWAY:
                givers[target].append(name)
    return [
        column.model_copy(update={"given_away_by": givers[column.name]}) if givers.get(column.name) else column
        for column in columns
    ]


def _targets(columns: Sequence[Column]) -> set[str]:
    """Names of the columns that could be a job's target, as many as PAIRS allows."""
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
    """Each column of these names with its values in the same rows in the same random order; NaN where missing."""
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
    """Equal values as equal floats: the values themselves, or of texts numbers in no order."""
    value = f"hash({column})::DOUBLE" if kind is ColumnType.text else on_a_line(column, kind)
    return f"CASE WHEN {column} IS NULL THEN 'nan'::DOUBLE ELSE coalesce({value}, 'inf'::DOUBLE) END"


class _Ranked:
    """A possible target as ranks, of the rows that have a value."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._present = ~np.isnan(values)
        _, places, counts = np.unique(values[self._present], return_inverse=True, return_counts=True)
        up_to = np.cumsum(counts)
        n = len(places)
        self._ranks = np.zeros(len(values))
        self._ranks[self._present] = up_to[places]  # rows with a value up to this row's
        from_here = n - up_to + counts
        self._by_chance = 2 * float((from_here * (n - from_here) * counts).sum()) / max(n, 1)

    def told_by(self, order: NDArray[np.int64]) -> float:
        """Chatterjee's xi with rows in the `order` of another column, ties at random: 0 where that says nothing, near
        1 where rows that are next to each other have nearly the same value. (A New Coefficient of Correlation, 2021.)
        """
        if not self._by_chance:
            return 0.0
        ranks = self._ranks[order[self._present[order]]]
        return 1.0 - float(np.abs(np.diff(ranks)).sum()) / self._by_chance
