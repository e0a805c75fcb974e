"""The population stability index, and its distribution without drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.drift.bins import counts_of, number_profile, text_profile, training_counts
from service.drift.stability import psi, without_drift
from service.spec.table import ColumnType

COUNTS = st.lists(st.integers(0, 10**6), min_size=2, max_size=24).filter(any)


def test_the_index_is_the_textbook_sum_where_no_bin_is_empty() -> None:
    training, rows = np.array([100, 300, 600]), np.array([20, 20, 60])

    found = psi(training, rows)

    assert found == pytest.approx(0.1 * np.log(2) - 0.1 * np.log(2 / 3), abs=1e-12)


def test_an_empty_bin_counts_as_half_a_row_and_one_that_is_empty_on_both_sides_not_at_all() -> None:
    found = psi(np.array([10, 0, 90]), np.array([2, 0, 0]))

    assert found == pytest.approx(0.9 * np.log(10) + (0.25 - 0.9) * np.log(0.25 / 0.9), abs=1e-12)


@given(counts=COUNTS, factor=st.integers(1, 50))
def test_the_index_is_never_negative_and_0_for_equal_shares(counts: list[int], factor: int) -> None:
    training = np.array(counts)

    assert psi(training, training * factor) == pytest.approx(0, abs=1e-5 + 30 / training.sum())
    assert psi(training, training[::-1].copy()) >= 0


@given(counts=COUNTS, rows=st.integers(1, 10**6))
def test_mean_and_limit_without_drift_are_finite(counts: list[int], rows: int) -> None:
    expected, limit = without_drift(np.array(counts), rows, columns=3)

    assert 0 <= expected < np.inf
    assert 0 <= limit < np.inf


def test_the_mean_without_drift_is_that_of_the_chi_squared_distribution_for_many_rows() -> None:
    expected, limit = without_drift(np.full(10, 5_000), 2_000, columns=1)

    factor = 1 / 2_000 + 1 / 50_000
    assert expected == pytest.approx(9 * factor, rel=0.03)
    assert limit == pytest.approx(16.92 * factor, rel=0.05)  # the 95% quantile with 9 degrees of freedom


@pytest.mark.slow
@pytest.mark.parametrize(("training", "rows"), [(500, 30), (500, 1_000), (20_000, 200)])
def test_without_drift_the_limit_is_exceeded_in_five_percent_of_tables(training: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    alarms = {"number": 0, "text": 0, "count": 0}
    tables = 200
    for _ in range(tables):
        numbers = rng.standard_normal(training + rows)
        texts = rng.choice(["a", "b", "c", "d", None], training + rows, p=[0.5, 0.3, 0.15, 0.04, 0.01])
        counts = rng.poisson(2.0, training + rows).astype(float)
        for name, values in (("number", numbers), ("text", texts.astype(object)), ("count", counts)):
            known = values[:training]
            profile = text_profile(name, known) if name == "text" else number_profile(name, ColumnType.number, known)
            before = training_counts(profile)
            limit = without_drift(before, rows, columns=1).limit
            alarms[name] += psi(before, counts_of(profile, values[training:])) > limit

    assert all(0.01 <= found / tables <= 0.095 for found in alarms.values()), alarms


def test_without_drift_no_column_of_fifty_is_above_its_limit_in_95_percent_of_tables() -> None:
    rng = np.random.default_rng(1)
    training, rows, columns, tables = 2_000, 100, 50, 100
    alarmed = 0
    for _ in range(tables):
        values = rng.standard_normal((training + rows, columns))
        for column in values.T:
            profile = number_profile("x", ColumnType.number, column[:training])
            before = training_counts(profile)
            if psi(before, counts_of(profile, column[training:])) > without_drift(before, rows, columns).limit:
                alarmed += 1
                break

    assert alarmed <= 12  # 5 expected; more than 12 has a probability of 0.001
