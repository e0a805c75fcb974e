"""Which rows train, which validate, which test: exact sizes, and the same shares of every class where asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.spec.data import Split
from service.spec.resolve import split_sizes

Indexes = NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """Row numbers of each part, (n,) int64; together every row once."""

    train: Indexes
    validation: Indexes
    test: Indexes


def split_rows(rows: int, split: Split, labels: NDArray[np.int64] | None) -> Parts:
    """The parts of `rows` rows, of exactly the sizes of `split_sizes`; a function of its arguments alone.

    `labels`: (rows,) class numbers, needed where `split.stratify` is true. Each part then holds its share of every
    class to within one row for training and two for validation and test.
    """
    train, validation, _ = split_sizes(rows, split.validation, split.test)
    rng = np.random.default_rng(split.seed)
    order = rng.permutation(rows) if split.shuffle else np.arange(rows)
    if not split.stratify:
        return Parts(*np.split(order, [train, train + validation]))
    assert labels is not None
    # Take evenly spaced rows of the list ordered by class. Any run of it, and so each class, then gives its share to
    # within one row; splitting what is left in the same way adds at most one more.
    by_class = order[np.argsort(labels[order], kind="stable")]
    for_train = _evenly_spaced(rows, train, rng)
    rest = by_class[~for_train]
    for_validation = _evenly_spaced(len(rest), validation, rng)
    part = np.empty(rows, dtype=np.int8)
    part[by_class[for_train]] = 0
    part[rest[for_validation]] = 1
    part[rest[~for_validation]] = 2
    # In the order of the permutation, so that no part is sorted by class.
    return Parts(*(order[part[order] == number] for number in range(3)))


def _evenly_spaced(rows: int, take: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(rows,) of which exactly `take` are true, evenly spaced from a random start: systematic sampling.

    A run of m rows holds floor or ceil of m * take / rows.
    """
    start = rng.integers(max(rows, 1))
    return np.diff((np.arange(rows + 1) * take + start) // max(rows, 1)).astype(np.bool_)
