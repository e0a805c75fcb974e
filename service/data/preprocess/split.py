"""Train/validation/test split: random, stratified, by order, by group, or by a column; training rows may be drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidSpec
from service.spec.split import PARTS, Split, drawn_rows, split_sizes

Indexes = NDArray[np.int64]

DRAW_STREAM = 1_000  # second seed of the generator that draws training rows; those of repeats are at most 100


@dataclass(frozen=True)
class SplitIndices:
    """Row numbers of each part, (n,) int64; each row is in exactly one, or left out by `split.train_fraction`."""

    train: Indexes
    validation: Indexes
    test: Indexes


def split_rows(
    rows: int, split: Split, labels: NDArray[np.int64] | None = None, keys: NDArray[Any] | None = None
) -> SplitIndices:
    """The parts of `rows` rows, of exactly the sizes of `split_sizes` but for a column's and groups', with as many
    training rows as `drawn_rows` says; a function of its arguments alone.

    `split`: with every default written out. `labels`: (rows,) class numbers, needed where `split.stratify` is true;
    each part then holds its share of every class to within one row for training and two for validation and test.
    `keys`: (rows,) values of the column that `split` names. Raises InvalidSpec when there are too few groups.
    """
    parts = _all_rows(rows, split, labels, keys)
    if split.train_fraction is None or split.train_fraction == 1.0:
        return parts
    groups = None if keys is None or split.group is None else _codes(keys)
    return replace(parts, train=_drawn(parts.train, split, labels, groups))


def _all_rows(rows: int, split: Split, labels: NDArray[np.int64] | None, keys: NDArray[Any] | None) -> SplitIndices:
    """The parts with all training rows."""
    if keys is not None and split.column is not None:
        return SplitIndices(*(np.flatnonzero(keys == part) for part in PARTS))
    rng = np.random.default_rng(split.seed)
    if keys is not None and split.group is not None:
        return _whole_groups(_codes(keys), split, rng)
    order = rng.permutation(rows) if split.shuffle else np.arange(rows)
    if keys is not None:
        order = np.argsort(keys, kind="stable")
    train, validation, test = split_sizes(rows, split)
    if split.folds is not None:
        return _fold(order, split, test, labels, rng)
    if not split.stratify:
        return SplitIndices(*np.split(order, [train, train + validation]))
    assert labels is not None
    # Take evenly spaced rows of the list ordered by class. Any run of it, and so each class, then gives its share to
    # within one row; splitting what is left in the same way adds at most one more.
    by_class = order[np.argsort(labels[order], kind="stable")]
    for_train = _evenly_spaced(rows, train, rng)
    rest = by_class[~for_train]
    for_validation = _evenly_spaced(len(rest), validation, rng)
    return _in_order(order, rest[for_validation], rest[~for_validation])


def _fold(
    order: Indexes, split: Split, test: int, labels: NDArray[np.int64] | None, rng: np.random.Generator
) -> SplitIndices:
    """The same test rows for every fold; each other row validates in one of them."""
    folds, fold = split.folds or 1, (split.fold or 1) - 1
    if split.stratify:
        assert labels is not None
        by_class = order[np.argsort(labels[order], kind="stable")]
        for_test = _evenly_spaced(len(order), test, rng)
        rest, tested = by_class[~for_test], by_class[for_test]
    else:
        rest, tested = order[: len(order) - test], order[len(order) - test :]
    if (split.repeat or 1) > 1:
        rest = _repeat_rng(split).permutation(rest)
        if split.stratify:
            assert labels is not None
            rest = rest[np.argsort(labels[rest], kind="stable")]
    # Dealt like cards, a list ordered by class gives each fold its share of every class to within one row.
    number = np.arange(len(rest)) % folds
    if not split.shuffle:
        number.sort()  # the same sizes, in runs
    return _in_order(order, rest[number == fold], tested)


def _drawn(train: Indexes, split: Split, labels: NDArray[np.int64] | None, groups: NDArray[np.int64] | None) -> Indexes:
    """The share `split.train_fraction` of the training rows, in their order; a generator of its own draws them."""
    rng = np.random.default_rng([split.train_seed or 0, DRAW_STREAM])
    take = drawn_rows(len(train), split)
    if groups is not None:
        names, sizes = np.unique(groups[train], return_counts=True)
        order = rng.permutation(len(names))
        nearest = int(np.argmin(np.abs(np.cumsum(sizes[order]) - take))) + 1
        return train[np.isin(groups[train], names[order[:nearest]])]
    order = rng.permutation(len(train))
    if not split.stratify:
        return train[np.sort(order[:take])]
    assert labels is not None
    by_class = order[np.argsort(labels[train][order], kind="stable")]
    return train[np.sort(by_class[_evenly_spaced(len(train), take, rng)])]


def _repeat_rng(split: Split) -> np.random.Generator:
    """The generator of a repeat's assignment of rows to folds; the first repeat's is that of the split."""
    return np.random.default_rng([split.seed, split.repeat or 1])


def _in_order(order: Indexes, validation: Indexes, test: Indexes) -> SplitIndices:
    """The parts in the order of the permutation, so that none is sorted by class; what is in neither trains."""
    part = np.zeros(len(order), dtype=np.int8)
    part[validation], part[test] = 1, 2
    return SplitIndices(*(order[part[order] == number] for number in range(3)))


def _evenly_spaced(rows: int, take: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(rows,) of which exactly `take` are true, evenly spaced from a random start: systematic sampling.

    A run of m rows holds floor or ceil of m * take / rows.
    """
    start = rng.integers(max(rows, 1))
    return np.diff((np.arange(rows + 1) * take + start) // max(rows, 1)).astype(np.bool_)


def _codes(keys: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) group numbers from 0 on, in the order of the values; what is missing is the last group."""
    if keys.dtype != object:
        return np.unique(keys, return_inverse=True)[1]  # all NaN are one, the largest
    missing = np.fromiter((key is None for key in keys), dtype=np.bool_, count=len(keys))
    codes = np.full(len(keys), len(keys), dtype=np.int64)
    codes[~missing] = np.unique(keys[~missing], return_inverse=True)[1]
    return np.unique(codes, return_inverse=True)[1]


def _whole_groups(codes: NDArray[np.int64], split: Split, rng: np.random.Generator) -> SplitIndices:
    """Groups in random order, or that of their first rows, cut where the sizes come nearest to what was asked for."""
    sizes = np.bincount(codes)
    first_rows = np.unique(codes, return_index=True)[1]
    order = rng.permutation(len(sizes)) if split.shuffle else np.argsort(first_rows)
    train, validation, test = split_sizes(len(codes), split)
    if split.folds is None:
        wanted = [("train", train), ("validation", validation), ("test", test)]
    else:
        rest = len(codes) - test
        wanted = [
            (
                "validation" if number == (split.fold or 1) else "train",
                rest // split.folds + (number <= rest % split.folds),
            )
            for number in range(1, split.folds + 1)
        ]
        wanted.append(("test", test))
    wanted = [(part, rows) for part, rows in wanted if rows]
    if len(sizes) < len(wanted):
        message = f"the rows have {len(sizes)} groups; the split needs {len(wanted)} or more"
        raise InvalidSpec.at("/split/group", message)
    ends = _cut(np.cumsum(sizes[order]), [rows for _, rows in wanted])
    if (split.repeat or 1) > 1:
        tested = order[ends[-2] :] if test else order[:0]
        again = _repeat_rng(split).permutation(order[: len(order) - len(tested)])
        turns = [rows for part, rows in wanted if part != "test"]
        order = np.concatenate([again, tested])
        ends = [*_cut(np.cumsum(sizes[again]), turns), *([len(order)] if test else [])]
    part_of = np.empty(len(sizes), dtype=np.int8)
    for (part, _), start, end in zip(wanted, [0, *ends], ends, strict=False):
        part_of[order[start:end]] = PARTS.index(part)
    return SplitIndices(*(np.flatnonzero(part_of[codes] == number) for number in range(3)))


def _cut(rows_up_to: NDArray[np.int64], wanted: list[int]) -> list[int]:
    """After how many groups each part ends: as near to the wanted rows as can be, with one group at the least."""
    ends: list[int] = []
    for number, rows in enumerate(accumulate(wanted), start=1):
        nearest = int(np.argmin(np.abs(rows_up_to - rows))) + 1
        least, most = number if not ends else ends[-1] + 1, len(rows_up_to) - (len(wanted) - number)
        ends.append(min(max(nearest, least), most))
    return [*ends[:-1], len(rows_up_to)]
