"""Values of a column as slices: numbers in quantile ranges, categories by value, missing ones on their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.intervals import Array
from service.reports.sections.slices import SliceCondition

RANGES = 5
"""Ranges of a number, with about equally many rows; pairs of them still have a twenty-fifth of the rows."""
MAX_NUMBERS = 10
"""A column with at most so many different numbers has them as slices."""
MAX_VALUES = 50
"""The most frequent values of a category."""


@dataclass(frozen=True)
class SliceColumn:
    """The slice of each row: an index of `conditions`, or -1 for rare values."""

    codes: NDArray[np.int64]  # (N,)
    conditions: list[SliceCondition]


def slice_column(name: str, values: NDArray[Any]) -> SliceColumn:
    """Slices of a column; values: (N,), numbers with NaN where missing, or objects with None or NaN."""
    if values.dtype.kind in "fiu":
        return _numbers(name, values.astype(np.float64))
    return _categories(name, [None if value != value else value for value in values.tolist()])


def _numbers(name: str, values: Array) -> SliceColumn:
    missing = np.isnan(values)
    present = values[~missing]
    distinct = np.unique(present)
    if len(distinct) <= MAX_NUMBERS:
        codes = np.searchsorted(distinct, values)
        conditions = [_condition(name, value=value) for value in distinct.tolist()]
    else:
        places = np.arange(1, RANGES) / RANGES
        edges = np.unique(np.quantile(present, places, method="lower"))
        codes = np.searchsorted(edges, values, side="right")
        ends = [None, *edges.tolist(), None]
        conditions = [_condition(name, low=low, high=high) for low, high in pairwise(ends)]
    codes[missing] = len(conditions)
    return SliceColumn(codes, [*conditions, _condition(name, missing=True)])


def _categories(name: str, values: list[Any]) -> SliceColumn:
    counts = Counter(values)
    counts.pop(None, None)
    ordered = sorted(counts, key=lambda value: (-counts[value], str(value)))[:MAX_VALUES]
    place = {value: i for i, value in enumerate(ordered)} | {None: len(ordered)}
    codes = np.fromiter((place.get(value, -1) for value in values), np.int64, len(values))
    return SliceColumn(codes, [*(_condition(name, value=value) for value in ordered), _condition(name, missing=True)])


def _condition(
    column: str,
    *,
    value: str | float | bool | None = None,
    low: float | None = None,
    high: float | None = None,
    missing: bool = False,
) -> SliceCondition:
    return SliceCondition(column=column, value=value, low=low, high=high, missing=missing)
