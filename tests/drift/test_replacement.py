"""Columns with the training distribution put back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.drift.bins import number_profile, text_profile
from service.drift.replacement import as_in_training
from service.spec.table import ColumnType

NUMBERS = arrays.arrays(np.float64, st.integers(1, 40), elements=st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)))
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), min_size=1, max_size=40)


def texts(values: Any) -> Any:
    return np.array([*values, None], dtype=object)[:-1]


@given(training=NUMBERS, values=NUMBERS, seed=st.integers(0, 99))
def test_numbers_get_training_values_and_the_training_share_of_missing_ones_in_their_order(
    training: Any, values: Any, seed: int
) -> None:
    profile = number_profile("x", ColumnType.number, training)

    found = as_in_training(profile, values, np.random.default_rng(seed))

    known = np.isfinite(found)
    assert set(found[known].tolist()) <= set(training.tolist())
    assert np.count_nonzero(~known) == round(len(values) * np.isnan(training).mean())
    both = known & np.isfinite(values)
    order = np.argsort(values[both], kind="stable")
    risen = np.diff(values[both][order]) > 0
    assert (np.diff(found[both][order])[risen] >= 0).all()


@given(training=TEXTS, values=TEXTS, seed=st.integers(0, 99))
def test_texts_get_their_training_shares_and_as_few_rows_as_possible_change(
    training: list[str | None], values: list[str | None], seed: int
) -> None:
    profile = text_profile("x", texts(training))

    found = as_in_training(profile, texts(values), np.random.default_rng(seed)).tolist()

    before, after, shares = Counter(values), Counter(found), Counter(training)
    for kind in shares.keys() | after.keys():
        assert abs(after[kind] - shares[kind] / len(training) * len(values)) < 1
    changed = sum(one != other for one, other in zip(values, found, strict=True))
    assert changed == sum(max(0, before[kind] - after[kind]) for kind in before)


def test_a_column_that_has_not_drifted_stays_almost_as_it_is() -> None:
    rng = np.random.default_rng(0)
    training, values = rng.normal(0, 1, 10_000), rng.normal(0, 1, 10_000)
    letters = rng.choice(["a", "b", "c"], (2, 10_000), p=[0.6, 0.3, 0.1]).astype(object)

    numbers = as_in_training(number_profile("x", ColumnType.number, training), values, rng)
    kept = as_in_training(text_profile("x", letters[0]), letters[1], rng)

    assert np.abs(numbers - values).mean() < 0.03
    assert (kept == letters[1]).mean() > 0.97


def test_a_shift_is_taken_back() -> None:
    rng = np.random.default_rng(0)
    training, values = rng.normal(0, 1, 10_000), rng.normal(3, 2, 2_000)

    found = as_in_training(number_profile("x", ColumnType.number, training), values, rng)

    assert abs(found.mean()) < 0.03
    assert abs(found.std() - 1) < 0.05
    assert np.corrcoef(found, values)[0, 1] > 0.99


def test_the_same_seed_gives_the_same_values() -> None:
    profile = text_profile("x", texts("aabbc"))
    values = texts("aaaaaaaaaaaa")

    one, other = (as_in_training(profile, values, np.random.default_rng(5)).tolist() for _ in range(2))

    assert one == other


def test_texts_beyond_the_listed_ones_keep_their_share() -> None:
    profile = text_profile("x", texts([f"{i:05}" for i in range(12_000)] + ["many"] * 12_000))

    found = as_in_training(profile, texts(["many"] * 50 + ["11999"] * 50), np.random.default_rng(0)).tolist()

    assert Counter(found)["many"] == 50
    assert Counter(found)["11999"] in (8, 9)  # of 8.3
