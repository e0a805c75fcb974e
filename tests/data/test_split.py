"""Splits: exact sizes, every row once, class shares kept, a function of the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.data.split import split_rows
from service.spec.split import Split, split_sizes

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
