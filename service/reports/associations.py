"""Which columns tell each other: rank correlation, Cramér's V and correlation ratio, and the groups that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOGETHER = 0.8
"""Columns with at least this association are one group, directly or through others."""
MAX_COLUMNS = 200
"""The time grows with the square of their number; of 200 texts in 5,000 rows it is some seconds."""
MAX_CODES = 50
"""Texts beyond the most frequent ones count as one."""


def groups_of(columns: Mapping[str, NDArray[Any]]) -> list[list[str]]:
    """Groups of two and more of the first MAX_COLUMNS columns (N,) that tell each other, in their order."""
    names = list(columns)[:MAX_COLUMNS]
    together = associations([columns[name] for name in names]) >= TOGETHER
    label = np.arange(len(names))
    for first, second in zip(*np.nonzero(np.triu(together, 1)), strict=True):  # connected components
        label[label == label[second]] = label[first]
    found = [[names[place] for place in np.flatnonzero(label == each)] for each in dict.fromkeys(label.tolist())]
    return [group for group in found if len(group) > 1]


def associations(columns: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """(K, K) association of columns (N,) from 0 to 1.

    Two numbers: the absolute rank correlation (Spearman). Two texts: Cramér's V. A text and a number: the correlation
    ratio of the ranks by text. Missing numbers have the middle rank; missing texts are a text of their own.
    """
    numeric = [place for place, values in enumerate(columns) if values.dtype != object]
    found = np.eye(len(columns))
    ranks = {place: ranked(columns[place]) for place in numeric}
    if numeric:
        found[np.ix_(numeric, numeric)] = np.abs(_correlations(np.stack([ranks[place] for place in numeric])))
    codes = {place: coded(values) for place, values in enumerate(columns) if place not in ranks}
    for first, own in codes.items():
        for second in range(len(columns)):
            if second in ranks:
                found[first, second] = found[second, first] = correlation_ratio(own, ranks[second])
            elif second > first:
                found[first, second] = found[second, first] = cramers_v(own, codes[second])
    return found


def ranked(values: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) ranks, equal ones averaged, minus their mean; 0 where a number is missing."""
    numbers = values.astype(np.float64)
    known = ~np.isnan(numbers)
    _, inverse, counts = np.unique(numbers[known], return_inverse=True, return_counts=True)
    found = np.zeros(len(numbers))
    if counts.size:
        found[known] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
        found[known] -= found[known].mean()
    return found


def _correlations(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, N) values with mean 0 -> (K, K) correlations; 0 with a constant."""
    norms = np.sqrt(np.square(centred).sum(1))
    scaled = centred / np.where(norms > 0, norms, 1.0)[:, None]
    return scaled @ scaled.T


def coded(values: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) codes of texts, 0 for the rarest ones together, and one for missing."""
    texts = np.array(["" if value is None else f"={value}" for value in values.tolist()])
    _, inverse, counts = np.unique(texts, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    code = np.zeros(len(counts), dtype=np.int64)
    code[order[:MAX_CODES]] = np.arange(1, min(MAX_CODES, len(counts)) + 1)
    return code[inverse]


def cramers_v(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Cramér's V of codes (N,), corrected for bias (Bergsma, 2013); 0 with a constant."""
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1.0)
    table = table[table.any(1)][:, table.any(0)]
    rows, (r, k) = table.sum(), table.shape
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / rows
    phi2 = float((np.square(table - expected) / expected).sum() / rows)
    corrected = max(0.0, phi2 - (r - 1) * (k - 1) / (rows - 1))
    least = min(r - (r - 1) ** 2 / (rows - 1), k - (k - 1) ** 2 / (rows - 1)) - 1
    return min(1.0, float(np.sqrt(corrected / least))) if least > 0 else 0.0


def correlation_ratio(codes: NDArray[np.int64], centred: NDArray[np.float64]) -> float:
    """Eta: the share of the deviation of numbers (N,) with mean 0 that lies between codes (N,), adjusted for their
    number; 0 with a constant."""
    total = float(np.square(centred).sum())
    counts = np.bincount(codes)
    sums = np.bincount(codes, centred)[counts > 0]
    groups, rows = len(sums), len(codes)
    if total == 0 or rows <= groups:
        return 0.0
    within = total - float((np.square(sums) / counts[counts > 0]).sum())
    return float(np.sqrt(max(0.0, 1.0 - within / total * (rows - 1) / (rows - groups))))
