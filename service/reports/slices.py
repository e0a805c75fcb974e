"""Slices of the rows, by one or two columns, on which the error is larger than elsewhere; and the worst rows.

Whoever looks at thousands of slices finds some with large errors by chance. So each is tested, and p-values are
corrected: by Holm's method among slices of one condition and among pairs, each doubled, because these are two families.
Pairs are corrected for all that exist, though only those of promising slices are tested: which are promising depends on
the same errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import erfc, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.reports.intervals import Array
from service.reports.sections.slices import ErrorSlice, SliceCondition, SlicesSection
from service.reports.slice_columns import slice_column

MIN_ROWS = 30
ROWS_PER_SLICE = 500
"""A slice has at least one in so many rows."""
PROMISING = 30
"""Slices of one condition, those with the smallest p-values, whose pairs are tested."""
MAX_LISTED = 20
SIGNIFICANT = 0.05
BLOCK = 50_000  # rows


class _Sums(NamedTuple):
    """Number of rows, and sums of their losses and of the squares, of S slices; (S,) each."""

    rows: Array
    losses: Array
    squares: Array

    def minus(self, other: _Sums) -> _Sums:
        return _Sums(*(a - b for a, b in zip(self, other, strict=True)))

    def at(self, index: Any) -> _Sums:
        return _Sums(*(each[index] for each in self))


class _Single(NamedTuple):
    column: int
    code: int
    condition: SliceCondition


def find_slices(columns: Mapping[str, NDArray[Any]], losses: Array) -> SlicesSection:
    """Where the mean loss is significantly larger.

    columns: (N,) each, as `slice_column` takes them; losses: (N,), N > 0.
    """
    rows = len(losses)
    min_rows = max(MIN_ROWS, rows // ROWS_PER_SLICE)
    mean = float(losses.mean()) if np.ptp(losses) else float(losses[0])
    centred = losses - mean  # against cancellation in the variances; exactly 0 where all losses are equal
    codes, singles, sums = _singles(columns, centred, min_rows)
    everything = _Sums(np.array(float(rows)), centred.sum(), centred @ centred)
    p_values = _larger(sums, everything.minus(sums), min_rows)
    pairs = _pair_count(singles)
    promising = [i for i in np.argsort(p_values, kind="stable")[:PROMISING].tolist() if p_values[i] < 0.5]
    found = _errors([[each.condition] for each in singles], sums, p_values, len(singles), everything, mean)
    if len(promising) > 1:
        members = [(codes[single.column], single.code) for single in (singles[i] for i in promising)]
        joint = _pair_sums(members, centred)
        found += _pairs([singles[i] for i in promising], sums.at(promising), joint, everything, mean, pairs, min_rows)
    found.sort(key=lambda each: (-each.rows * each.excess, each.p_value, str(each.conditions)))
    return SlicesSection(
        rows=rows,
        mean_loss=mean,
        min_rows=min_rows,
        looked_at=len(singles),
        pairs=pairs,
        slices=found[:MAX_LISTED],
    )


def worst_rows(losses: Array, number: int = 50) -> NDArray[np.int64]:
    """Row numbers of the largest losses, in decreasing order; equal ones in the order of rows."""
    return np.argsort(-losses, kind="stable")[:number]


def _singles(
    columns: Mapping[str, NDArray[Any]], losses: Array, min_rows: int
) -> tuple[list[NDArray[np.uint8]], list[_Single], _Sums]:
    """The slices with enough rows inside and outside."""
    codes: list[NDArray[np.uint8]] = []
    singles: list[_Single] = []
    sums: list[tuple[float, float, float]] = []
    squares = losses * losses
    for number, (name, values) in enumerate(columns.items()):
        column = slice_column(name, values)
        place, size = column.codes + 1, len(column.conditions) + 1  # 0: rare values
        codes.append(place.astype(np.uint8))
        totals = np.stack([np.bincount(place, weights, size) for weights in (None, losses, squares)], 1)
        for code, (row, condition) in enumerate(zip(totals[1:].tolist(), column.conditions, strict=True), start=1):
            if min_rows <= row[0] <= len(losses) - min_rows:
                singles.append(_Single(number, code, condition))
                sums.append(tuple(row))
    return codes, singles, _Sums(*np.array(sums, np.float64).reshape(-1, 3).T)


def _pair_count(singles: list[_Single]) -> int:
    """Number of pairs of slices in different columns."""
    sizes = np.bincount([single.column for single in singles]) if singles else np.zeros(1, np.int64)
    return int(len(singles) ** 2 - (sizes**2).sum()) // 2


def _pair_sums(members: list[tuple[NDArray[np.uint8], int]], losses: Array) -> list[Array]:
    """Rows, losses and squares of the rows that two slices share, (S, S) each."""
    found = [np.zeros((len(members), len(members))) for _ in range(3)]
    for start in range(0, len(losses), BLOCK):
        part = losses[start : start + BLOCK]
        inside = np.stack([codes[start : start + BLOCK] == code for codes, code in members]).astype(np.float64)
        for total, weights in zip(found, (np.ones(len(part)), part, part * part), strict=True):
            total += (inside * weights) @ inside.T
    return found


def _pairs(
    singles: list[_Single],
    sums: _Sums,
    joint: list[Array],
    everything: _Sums,
    mean: float,
    pairs: int,
    min_rows: int,
) -> list[ErrorSlice]:
    """Pairs that are worse than all other rows, and than the other rows of each of their two slices.

    The largest of the three p-values counts, so that a pair is not listed because one of its slices is bad.
    """
    places = [(i, j) for i, j in combinations(range(len(singles)), 2) if singles[i].column != singles[j].column]
    if not places:
        return []
    first, second = np.array(places).T
    own = _Sums(*(each[first, second] for each in joint))
    others = (everything.minus(own), sums.at(first).minus(own), sums.at(second).minus(own))
    p_values = np.max([_larger(own, other, min_rows) for other in others], 0)
    conditions = [[singles[i].condition, singles[j].condition] for i, j in places]
    return _errors(conditions, own, p_values, pairs, everything, mean)


def _errors(
    conditions: list[list[SliceCondition]], sums: _Sums, p_values: Array, tests: int, everything: _Sums, mean: float
) -> list[ErrorSlice]:
    """The significant slices of a family of `tests`, of which some were not made: their p-value counts as 1."""
    corrected = np.minimum(2.0 * holm(p_values, tests), 1.0)
    rest = everything.minus(sums)
    found = []
    for i in np.flatnonzero(corrected <= SIGNIFICANT).tolist():
        inside, outside = float(sums.losses[i] / sums.rows[i]), float(rest.losses[i] / rest.rows[i])
        found.append(
            ErrorSlice(
                conditions=conditions[i],
                rows=int(sums.rows[i]),
                mean_loss=mean + inside,
                rest_mean_loss=mean + outside,
                excess=inside - outside,
                p_value=float(p_values[i]),
                corrected_p_value=float(corrected[i]),
            )
        )
    return found


def _larger(inside: _Sums, outside: _Sums, min_rows: int) -> Array:
    """One-sided p-values of t-tests whether the mean loss is larger inside; 1 where one side has too few rows.

    Both sides count with the larger of the two variances, and the degrees of freedom of the smaller side: losses are
    skewed, and a slice whose losses happen to be equal would otherwise be certain. (S,) each.
    """
    enough = np.minimum(inside.rows, outside.rows) >= min_rows
    n, m = np.where(enough, inside.rows, 2.0), np.where(enough, outside.rows, 2.0)
    variances = [
        np.maximum(side.squares - side.losses**2 / rows, 0.0) / (rows - 1.0)
        for side, rows in ((inside, n), (outside, m))
    ]
    error = np.sqrt(np.maximum(*variances) * (1.0 / n + 1.0 / m))
    difference = inside.losses / n - outside.losses / m
    t = np.divide(difference, error, out=np.where(difference > 0.0, np.inf, 0.0), where=error > 0.0)
    return np.where(enough, student_t_tail(t, np.minimum(n, m) - 1.0), 1.0)


def student_t_tail(t: Array, freedom: Array) -> Array:
    """Probability that a t-distributed number is larger, by Wallace's approximation (1959); (S,) each."""
    z = np.sqrt(freedom * np.log1p(t * t / freedom)) * (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    return np.array([erfc(each / sqrt(2.0)) / 2.0 for each in np.copysign(z, t).tolist()])


def holm(p_values: Array, tests: int) -> Array:
    """Holm's corrected p-values (1979) of some of `tests` tests, if the p-values of the others are larger; (S,)."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * (tests - np.arange(len(order))))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
