"""Profiles of columns, and the bins of other rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.drift.bins import (
    MAX_TEXTS,
    NUMBER_BINS,
    TEXT_BINS,
    counts_of,
    labels,
    number_profile,
    text_profile,
    training_counts,
)
from service.drift.profile import ColumnProfile
from service.spec.table import ColumnType

NUMBERS = arrays.arrays(
    np.float64, st.integers(1, 60), elements=st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, 1.0, 2.0]))
)
TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60)


@given(values=NUMBERS, others=NUMBERS)
def test_each_number_is_in_one_bin_and_training_rows_are_where_the_profile_counts_them(
    values: np.ndarray,
    others: np.ndarray,  # type: ignore[type-arg]
) -> None:
    profile = number_profile("x", ColumnType.number, values)

    assert counts_of(profile, values).tolist() == training_counts(profile).tolist()
    assert counts_of(profile, others).sum() == len(others)
    assert len(labels(profile)) == len(training_counts(profile))
    assert len(profile.counts) <= NUMBER_BINS
    assert all(profile.counts)
    assert set(profile.quantiles) <= set(values.tolist())


@given(values=TEXTS, others=TEXTS)
def test_each_text_is_in_one_bin_and_training_rows_are_where_the_profile_counts_them(
    values: list[str | None], others: list[str | None]
) -> None:
    profile = text_profile("x", np.array([*values, None], dtype=object)[:-1])

    assert (
        counts_of(profile, np.array([*values, None], dtype=object)[:-1]).tolist() == training_counts(profile).tolist()
    )
    assert counts_of(profile, np.array([*others, None], dtype=object)[:-1]).sum() == len(others)
    assert len(labels(profile)) == len(training_counts(profile))


def test_many_different_numbers_are_cut_at_their_deciles() -> None:
    profile = number_profile("x", ColumnType.number, np.arange(1.0, 1001.0))

    assert profile.edges == [100.0 * k for k in range(1, 10)]
    assert profile.counts == [100] * 10
    assert (profile.low, profile.high, profile.missing) == (1.0, 1000.0, 0)


def test_few_different_numbers_have_a_bin_each() -> None:
    profile = number_profile("x", ColumnType.integer, np.array([3.0, 3, 3, 3, 1, np.nan, np.inf, 2]))

    assert profile.counts == [1, 1, 4]
    assert profile.missing == 2
    assert counts_of(profile, np.array([0.0, 1, 2.5, 4, np.nan])).tolist() == [1, 1, 0, 1, 1, 1]
    assert labels(profile) == ["< 1", "1", "> 1 to 2", "> 2 to 3", "> 3", "(missing)"]


def test_the_bins_of_booleans_and_dates_have_readable_names() -> None:
    truth = number_profile("x", ColumnType.boolean, np.array([0.0, 1, 1]))
    dates = number_profile("x", ColumnType.datetime, np.array([0.0, 86_400, 3_600]))

    assert labels(truth)[1:3] == ["false", "true"]
    assert labels(dates) == [
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
    assert counts_of(profile, np.array([1.0, np.nan])).tolist() == [0, 1, 1]


def test_rare_texts_share_a_bin_and_are_still_known() -> None:
    values = [f"t{i:02}" for i in range(30) for _ in range(40 - i)]
    profile = text_profile("x", np.array(values, dtype=object))

    assert profile.texts == [f"t{i:02}" for i in range(30)]
    assert training_counts(profile).tolist() == [*range(40, 40 - TEXT_BINS, -1), sum(range(11, 21)), 0]
    assert counts_of(profile, np.array(["t00", "t29", "new", None], dtype=object)).tolist()[-2:] == [2, 1]


@pytest.mark.parametrize("width", [5, 2_000])
def test_the_texts_of_a_profile_are_bounded(width: int) -> None:
    values = np.array([f"{i:0{width}}" for i in range(2 * MAX_TEXTS if width == 5 else 500)], dtype=object)

    profile: ColumnProfile = text_profile("x", values)

    assert sum(map(len, profile.texts)) <= 500_000
    assert 0 < profile.other == len(values) - len(profile.texts)
