"""Splits: exact sizes, stratified, grouped, ordered; deterministic in the seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.data.preprocess.split import SplitIndices, split_rows
from service.errors import InvalidSpec
from service.spec.split import Split, drawn_rows, split_sizes

SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.2, 0.25, 1 / 3, 0.4])
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(
    sizes=SIZES, validation=SHARES, test=SHARES, shuffle=st.booleans(), stratify=st.booleans(), seed=st.integers(0, 9)
)
def test_the_parts_hold_every_row_once_in_exactly_the_promised_sizes(
    sizes: list[int], validation: float, test: float, shuffle: bool, stratify: bool, seed: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    expected = split_sizes(len(labels), Split(validation=validation, test=test))
    assume(expected[0] >= 1)
    split = Split(validation=validation, test=test, shuffle=shuffle, stratify=shuffle and stratify, seed=seed)

    parts = split_rows(len(labels), split, labels)

    assert (len(parts.train), len(parts.validation), len(parts.test)) == expected
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert np.array_equal(np.sort(together), np.arange(len(labels)))
    assert together.dtype == np.int64


@given(sizes=SIZES, validation=SHARES, test=SHARES, seed=st.integers(0, 99))
def test_each_part_of_a_stratified_split_has_its_share_of_every_class(
    sizes: list[int], validation: float, test: float, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    expected = split_sizes(len(labels), Split(validation=validation, test=test))
    assume(expected[0] >= 1)

    parts = split_rows(
        len(labels), Split(validation=validation, test=test, shuffle=True, stratify=True, seed=seed), labels
    )

    for rows, size, most in zip((parts.train, parts.validation, parts.test), expected, (1, 2, 2), strict=True):
        share = np.array(sizes) * size / len(labels)
        assert (np.abs(np.bincount(labels[rows], minlength=len(sizes)) - share) < most).all()


def test_row_order_gives_training_validation_and_test_rows_in_this_order() -> None:
    parts = split_rows(10, Split(validation=0.2, test=0.3, shuffle=False).filled(classes=False), None)

    assert [part.tolist() for part in (parts.train, parts.validation, parts.test)] == [
        [0, 1, 2, 3, 4],
        [5, 6],
        [7, 8, 9],
    ]


@pytest.mark.parametrize("stratify", [True, False])
def test_the_same_seed_gives_the_same_split_and_another_seed_another(stratify: bool) -> None:
    labels = np.arange(100) % 3
    first, again, other = (
        split_rows(100, Split(shuffle=True, stratify=stratify, seed=seed), labels).validation.tolist()
        for seed in (1, 1, 2)
    )

    assert first == again
    assert sorted(first) != sorted(other)


def test_no_part_of_a_stratified_split_is_sorted_by_class() -> None:
    labels = np.repeat([0, 1], 500)

    parts = split_rows(1_000, Split(validation=0.5, shuffle=True, stratify=True), labels)

    for rows in (parts.train, parts.validation):
        assert 150 < np.abs(np.diff(labels[rows])).sum() < 350


def test_every_row_is_as_likely_to_validate_as_any_other() -> None:
    labels = np.array([0] * 17 + [1] * 2 + [2])
    counts = np.zeros(20)

    for seed in range(1_000):
        counts[split_rows(20, Split(validation=0.3, shuffle=True, stratify=True, seed=seed), labels).validation] += 1

    assert (np.abs(counts - 300) < 75).all()  # five standard deviations


def fold_of(rows: int, labels: np.ndarray | None, keys: np.ndarray | None = None, **fields: Any) -> list[SplitIndices]:
    folds = [Split(**fields, fold=fold).filled(classes=labels is not None) for fold in range(1, fields["folds"] + 1)]
    return [split_rows(rows, split, labels, keys) for split in folds]


@given(
    sizes=SIZES,
    folds=st.integers(2, 7),
    test=SHARES,
    shuffle=st.booleans(),
    classes=st.booleans(),
    seed=st.integers(0, 9),
)
def test_folds_take_turns_to_validate_and_share_their_test_rows(
    sizes: list[int], folds: int, test: float, shuffle: bool, classes: bool, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = len(labels)
    split = Split(folds=folds, test=test, shuffle=shuffle, seed=seed)
    assume(split_sizes(rows, split)[0] >= 1)

    found = fold_of(rows, labels if classes else None, folds=folds, test=test, shuffle=shuffle, seed=seed)

    turns = np.concatenate([parts.validation for parts in found])
    tested = found[0].test
    assert np.array_equal(np.sort(np.concatenate([turns, tested])), np.arange(rows))
    for fold, parts in enumerate(found, start=1):
        together = np.concatenate([parts.train, parts.validation, parts.test])
        assert np.array_equal(np.sort(together), np.arange(rows))
        assert np.array_equal(parts.test, tested)
        expected = split_sizes(rows, split.model_copy(update={"fold": fold}))
        assert (len(parts.train), len(parts.validation), len(parts.test)) == expected
    if shuffle and classes:
        for parts in found:
            share = np.array(sizes) * len(parts.validation) / rows
            assert (np.abs(np.bincount(labels[parts.validation], minlength=len(sizes)) - share) < 2).all()


@given(
    sizes=SIZES,
    folds=st.integers(2, 5),
    test=SHARES,
    by=st.sampled_from(["rows", "classes", "groups"]),
    seed=st.integers(0, 9),
)
def test_repeats_assign_rows_to_folds_anew_and_share_their_test_rows(
    sizes: list[int], folds: int, test: float, by: str, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = len(labels)
    assume(split_sizes(rows, Split(folds=folds, test=test))[0] >= 1)
    assume(by != "groups" or len(sizes) > folds)
    own: dict[str, Any] = {"labels": labels} if by == "classes" else {"labels": None}
    group = {"group": "g"} if by == "groups" else {}
    keys = labels.astype(float) if by == "groups" else None

    repeats = [
        fold_of(rows, keys=keys, folds=folds, test=test, seed=seed, repeat=repeat, **own, **group)
        for repeat in (1, 2, 3, 2, None)
    ]

    for found in repeats:
        turns = np.concatenate([parts.validation for parts in found])
        assert np.array_equal(np.sort(np.concatenate([turns, found[0].test])), np.arange(rows))
        assert all(np.array_equal(parts.test, repeats[0][0].test) for parts in found)
        assert all(len(np.intersect1d(parts.train, parts.validation)) == 0 for parts in found)
        if by == "classes":
            for parts in found:
                share = np.array(sizes) * len(parts.validation) / rows
                assert (np.abs(np.bincount(labels[parts.validation], minlength=len(sizes)) - share) < 2).all()
        if by == "groups":
            assert sum(len(set(labels[parts.validation])) for parts in found) == len(sizes) - len(
                set(labels[found[0].test])
            )
    assert same_folds(repeats[1], repeats[3])
    assert same_folds(repeats[0], repeats[4])
    if by == "rows" and rows > 40:
        assert not same_folds(repeats[0], repeats[1])
        assert not same_folds(repeats[1], repeats[2])


def same_folds(one: list[SplitIndices], other: list[SplitIndices]) -> bool:
    return all(
        np.array_equal(left.validation, right.validation) and np.array_equal(left.train, right.train)
        for left, right in zip(one, other, strict=True)
    )


def test_folds_in_row_order_are_runs_of_rows() -> None:
    found = fold_of(10, None, folds=3, shuffle=False)

    assert [parts.validation.tolist() for parts in found] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


@given(sizes=SIZES, validation=SHARES, test=SHARES, shuffle=st.booleans(), seed=st.integers(0, 99))
def test_no_group_straddles_and_sizes_are_as_near_as_the_largest_group_allows(
    sizes: list[int], validation: float, test: float, shuffle: bool, seed: int
) -> None:
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(float)
    split = Split(validation=validation, test=test, group="g", shuffle=shuffle, seed=seed).filled(classes=True)
    wanted = split_sizes(len(groups), split)
    assume(wanted[0] >= 1 and len(sizes) >= sum(rows > 0 for rows in wanted))

    parts = split_rows(len(groups), split, None, groups)

    found = (parts.train, parts.validation, parts.test)
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(len(groups)))
    in_part = [set(groups[rows]) for rows in found]
    assert sum(map(len, in_part)) == len(set.union(*in_part))
    for rows, asked in zip(found, wanted, strict=True):
        assert (len(rows) > 0) == (asked > 0)
        # Half a group at either end; more only where a part had to be given its one group.
        assert abs(len(rows) - asked) <= max(sizes) * max(1, sum(n > 0 for n in wanted) - 1)


@given(sizes=SIZES, folds=st.integers(2, 5), test=SHARES, seed=st.integers(0, 99))
def test_each_group_validates_in_one_fold_or_tests(sizes: list[int], folds: int, test: float, seed: int) -> None:
    assume(len(sizes) > folds)
    groups = np.array([f"g{i}" for i in np.repeat(np.arange(len(sizes)), sizes)], dtype=object)

    found = fold_of(len(groups), None, groups, folds=folds, test=test, group="g", seed=seed)

    places = [set(groups[parts.validation]) for parts in found] + [set(groups[found[0].test])]
    assert sum(map(len, places)) == len(sizes)
    assert set.union(*places) == set(groups)
    assert all(len(place) > 0 for place in places[:-1])


def test_rows_without_a_group_are_a_group_of_their_own() -> None:
    texts = np.array(["a", None, "", None, "a", "", None, "b"], dtype=object)
    numbers = np.array([1.0, np.nan, 2, np.nan, 1, 2, np.nan, 3])

    for seed in range(20):
        for groups in (texts, numbers):
            split = Split(validation=0.4, group="g", seed=seed).filled(classes=False)
            parts = split_rows(8, split, None, groups)
            assert {1, 3, 6} <= set(parts.train.tolist()) or {1, 3, 6} <= set(parts.validation.tolist())


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="the rows have 1 groups; the split needs 2 or more"):
        split_rows(9, Split(group="g").filled(classes=False), None, np.zeros(9))


def test_the_earliest_rows_train_and_the_latest_test() -> None:
    when = np.array([5.0, 1, 9, 3, 7, 3, 2, 8, 4, 6])

    parts = split_rows(10, Split(order_by="when", test=0.1).filled(classes=True), None, when)

    assert when[parts.train].tolist() == [1, 2, 3, 3, 4, 5, 6]
    assert parts.train.tolist()[2:4] == [3, 5]
    assert (when[parts.validation].tolist(), when[parts.test].tolist()) == ([7, 8], [9])


def test_a_column_puts_each_row_where_it_says() -> None:
    named = np.array(["test", "train", "validation", "train"], dtype=object)

    parts = split_rows(4, Split(column="part").filled(classes=True), None, named)

    assert [rows.tolist() for rows in (parts.train, parts.validation, parts.test)] == [[1, 3], [2], [0]]


WAYS: list[dict[str, Any]] = [
    {},
    {"shuffle": False, "test": 0.2},
    {"folds": 3, "fold": 2, "test": 0.1},
    {"group": "g", "test": 0.2},
    {"group": "g", "folds": 2},
    {"order_by": "t"},
    {"column": "part"},
]


@given(
    sizes=st.lists(st.integers(1, 60), min_size=4, max_size=40),
    way=st.sampled_from(WAYS),
    share=st.sampled_from([0.01, 0.1, 0.4, 0.7, 0.99]),
    classes=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_share_of_the_training_rows_is_drawn_in_their_order_and_the_other_parts_stay_the_same(
    sizes: list[int], way: dict[str, Any], share: float, classes: bool, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = len(labels)
    names = np.array(["train", "validation", "train", "test"], dtype=object)
    values: dict[str, Any] = {"column": names[np.arange(rows) % 4], "group": labels.astype(float), "order_by": labels}
    keys = next((values[name] for name in values if name in way), None)
    asked = {**way, "seed": seed}
    whole = Split(**asked).filled(classes=classes)
    drawn = Split(**asked, train_fraction=share, train_seed=seed).filled(classes=classes)

    every, some = (split_rows(rows, split, labels, keys) for split in (whole, drawn))

    assert np.array_equal(some.validation, every.validation)
    assert np.array_equal(some.test, every.test)
    assert np.array_equal(some.train, every.train[np.isin(every.train, some.train)])
    take = drawn_rows(len(every.train), drawn)
    if drawn.group is not None:
        assert np.isin(labels[every.train], labels[some.train]).sum() == len(some.train)
        largest = np.bincount(labels[every.train]).max()
        assert len(some.train) > 0
        assert abs(len(some.train) - take) <= max(largest / 2, largest - take)
    else:
        assert len(some.train) == take
    if drawn.stratify:
        expected = np.bincount(labels[every.train], minlength=len(sizes)) * take / len(every.train)
        assert (np.abs(np.bincount(labels[some.train], minlength=len(sizes)) - expected) < 1).all()


def test_all_training_rows_are_those_of_a_split_without_a_share() -> None:
    labels = np.arange(100) % 3
    for way in ({}, {"folds": 4}, {"shuffle": False}):
        parts = [
            split_rows(100, Split(**way, **share).filled(classes=True), labels).train.tolist()
            for share in ({}, {"train_fraction": 1.0, "train_seed": 7})
        ]
        assert parts[0] == parts[1]


def test_another_seed_draws_other_training_rows_and_each_row_is_as_likely() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    counts = np.zeros(40)

    for seed in range(1_000):
        split = Split(validation=0, train_fraction=0.3, train_seed=seed).filled(classes=True)
        counts[split_rows(40, split, labels).train] += 1

    assert counts.sum() == 12_000
    assert (np.abs(counts - 300) < 75).all()  # five standard deviations
