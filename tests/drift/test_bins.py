"""Profiles of columns, and the bins of other rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.drift.bins import (
    MAX_TEXTS,
    NUMBER_BINS,
    TEXT_BINS,
    Binned,
    binned,
    number_profile,
    text_profile,
    training_counts,
)
from service.drift.profile import ColumnProfile
from service.spec.table import ColumnType

NUMBERS = arrays.arrays(
    np.float64, st.integers(1, 60), elements=st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, 1.0, 2.0]))
)


def texts(*values: str | None) -> Any:
    return np.array([*values, None], dtype=object)[:-1]


def assert_complete(found: Binned, training: int, rows: int) -> None:
    assert found.training.sum() == training
    assert found.rows.sum() == rows
    assert len(found.labels) == len(found.training) == len(found.rows)


TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60)


@given(values=NUMBERS, others=NUMBERS)
def test_each_number_is_in_one_bin_and_training_rows_are_where_the_profile_counts_them(
    values: np.ndarray,
    others: np.ndarray,  # type: ignore[type-arg]
) -> None:
    profile = number_profile("x", ColumnType.number, values)

    assert binned(profile, values).rows.tolist() == training_counts(profile).tolist()
    assert_complete(binned(profile, others), len(values), len(others))
    assert len(profile.counts) <= NUMBER_BINS
    assert all(profile.counts)
    assert set(profile.quantiles) <= set(values.tolist())


@given(values=TEXTS, others=TEXTS)
def test_each_text_is_in_one_bin_and_training_rows_are_where_the_profile_counts_them(
    values: list[str | None], others: list[str | None]
) -> None:
    profile = text_profile("x", texts(*values))

    same, different = binned(profile, texts(*values)), binned(profile, texts(*others))

    assert same.rows.tolist() == same.training.tolist()
    assert_complete(different, len(values), len(others))
    assert different.labels == binned(text_profile("x", texts(*others)), texts(*values)).labels


def test_many_different_numbers_are_cut_at_their_deciles() -> None:
    profile = number_profile("x", ColumnType.number, np.arange(1.0, 1001.0))

    assert profile.edges == [100.0 * k for k in range(1, 10)]
    assert profile.counts == [100] * 10
    assert (profile.low, profile.high, profile.missing) == (1.0, 1000.0, 0)


def test_few_different_numbers_have_a_bin_each() -> None:
    profile = number_profile("x", ColumnType.integer, np.array([3.0, 3, 3, 3, 1, np.nan, np.inf, 2]))

    assert profile.counts == [1, 1, 4]
    assert profile.missing == 2
    found = binned(profile, np.array([0.0, 1, 2.5, 4, np.nan]))
    assert found.rows.tolist() == [1, 1, 0, 1, 1, 1]
    assert found.labels == ["< 1", "1", "> 1 to 2", "> 2 to 3", "> 3", "(missing)"]


def test_the_bins_of_booleans_and_dates_have_readable_names() -> None:
    truth = number_profile("x", ColumnType.boolean, np.array([0.0, 1, 1]))
    dates = number_profile("x", ColumnType.datetime, np.array([0.0, 86_400, 3_600]))

    assert binned(truth, np.zeros(1)).labels[1:3] == ["false", "true"]
    assert binned(dates, np.zeros(1)).labels == [
        "< 1970-01-01",
        "1970-01-01",
        "> 1970-01-01 to 1970-01-01 01:00",
        "> 1970-01-01 01:00 to 1970-01-02",
        "> 1970-01-02",
        "(missing)",
    ]


def test_a_column_without_a_training_value_has_a_bin_for_any() -> None:
    profile = number_profile("x", ColumnType.number, np.full(3, np.nan))

    assert training_counts(profile).tolist() == [0, 0, 3]
    assert binned(profile, np.array([1.0, np.nan])).rows.tolist() == [0, 1, 1]


def test_rare_texts_share_a_bin_and_are_still_known() -> None:
    values = [f"t{i:02}" for i in range(30) for _ in range(40 - i)]
    profile = text_profile("x", np.array(values, dtype=object))

    assert profile.texts == [f"t{i:02}" for i in range(30)]
    found = binned(profile, texts("t00", "t29", "new", None))
    assert found.training.tolist() == [*range(40, 40 - TEXT_BINS, -1), sum(range(11, 21)), 0]
    assert found.rows.tolist()[-2:] == [2, 1]


def test_a_text_that_is_frequent_in_the_new_rows_has_a_bin() -> None:
    profile = text_profile("x", texts(*(f"t{i:02}" for i in range(30) for _ in range(10))))

    found = binned(profile, texts(*["new"] * 50, *["t29"] * 5))

    assert found.labels[:2] == ["new", "t29"]
    assert (found.training.tolist()[:2], found.rows.tolist()[:2]) == ([0, 10], [50, 5])


@pytest.mark.parametrize("width", [5, 2_000])
def test_the_texts_of_a_profile_are_bounded(width: int) -> None:
    values = np.array([f"{i:0{width}}" for i in range(2 * MAX_TEXTS if width == 5 else 500)], dtype=object)

    profile: ColumnProfile = text_profile("x", values)

    assert sum(map(len, profile.texts)) <= 500_000
    assert 0 < profile.other == len(values) - len(profile.texts)
