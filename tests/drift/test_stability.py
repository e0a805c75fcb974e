"""The population stability index, and its distribution without drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.drift.bins import number_profile, text_profile
from service.drift.comparison import compared
from service.drift.report import ColumnDrift
from service.drift.stability import numbers_without_drift, psi, texts_without_drift
from service.spec.table import ColumnType
from tests.examples import some

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
    values = np.repeat(np.arange(float(len(counts))), np.minimum(counts, 50))
    numbers = numbers_without_drift(number_profile("x", ColumnType.number, values), rows, columns=3)
    texts = texts_without_drift(np.array(counts), np.array(counts[::-1]), columns=300)

    for expected, limit in (numbers, texts):
        assert 0 <= expected < np.inf
        assert 0 <= limit < np.inf


def test_the_mean_without_drift_is_that_of_the_chi_squared_distribution_for_many_rows() -> None:
    profile = number_profile("x", ColumnType.number, np.arange(50_000.0))

    found = [
        numbers_without_drift(profile, 2_000, columns=1),
        texts_without_drift(np.full(10, 5_000), np.full(10, 200), columns=1),
    ]

    factor = 1 / 2_000 + 1 / 50_000
    for expected, limit in found:
        assert expected == pytest.approx(9 * factor, rel=0.05)  # bins outside the range add a little
        assert limit == pytest.approx(16.92 * factor, rel=0.05)  # the 95% quantile with 9 degrees of freedom


def test_the_limit_for_many_columns_is_that_of_the_chi_squared_distribution() -> None:
    limit = texts_without_drift(np.full(10, 50_000), np.full(10, 2_000), columns=1_000).limit

    assert limit == pytest.approx(35.5 * (1 / 20_000 + 1 / 500_000), rel=0.12)  # 1 - 5e-5, 9 degrees of freedom


def column(values: Any, training: int, columns: int) -> ColumnDrift:
    """The last of the values compared with the first ones, as one of so many columns."""
    known = values[:training]
    if values.dtype == object:
        return compared(text_profile("x", known), values[training:], columns)
    return compared(number_profile("x", ColumnType.number, known), values[training:], columns)


def texts(rng: np.random.Generator, number: int, rows: int) -> Any:
    return np.array([f"text {i}" for i in range(number)], dtype=object)[rng.integers(0, number, rows)]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(("training", "rows"), [(500, 30), (500, 1_000), (20_000, 200)])
def test_without_drift_the_limit_is_exceeded_in_five_percent_of_tables(training: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    alarms = {"number": 0, "text": 0, "count": 0}
    tables = 200
    for _ in range(tables):
        numbers = rng.standard_normal(training + rows)
        names = rng.choice(["a", "b", "c", "d", None], training + rows, p=[0.5, 0.3, 0.15, 0.04, 0.01])
        counts = rng.poisson(2.0, training + rows).astype(float)
        for name, values in (("number", numbers), ("text", names.astype(object)), ("count", counts)):
            found = column(values, training, 1)
            alarms[name] += found.psi > found.psi_limit

    assert all(0.01 <= found / tables <= 0.095 for found in alarms.values()), alarms


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize(
    ("training", "rows", "columns", "tables"),
    some([(2_000, 100, 50, 100), (2_000, 50, 1_000, 40), (400, 400, 8, 200)], 2),
)
def test_without_drift_no_column_of_many_is_above_its_limit_in_95_percent_of_tables(
    training: int, rows: int, columns: int, tables: int
) -> None:
    rng = np.random.default_rng(1)
    alarmed = 0
    for _ in range(tables):
        found = (column(rng.standard_normal(training + rows), training, columns) for _ in range(columns))
        alarmed += any(each.psi > each.psi_limit for each in found)

    assert alarmed <= stats.binom.ppf(0.999, tables, 0.05)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(("number", "training", "rows"), [(60, 300, 300), (200, 400, 400), (2_000, 400, 20)])
def test_without_drift_many_equally_frequent_texts_are_above_the_limit_in_five_percent_of_tables(
    number: int, training: int, rows: int
) -> None:
    rng = np.random.default_rng(2)
    found = [column(texts(rng, number, training + rows), training, 1) for _ in range(200)]

    assert sum(each.psi > each.psi_limit for each in found) <= 20  # more has a probability of 0.1%
    assert all(each.drift == "none" for each in found if each.psi <= each.psi_limit)


@pytest.mark.e2e
def test_shifts_of_the_population_are_found_in_nearly_all_tables() -> None:
    rng, found = np.random.default_rng(3), []
    for _ in range(20):
        shifted = np.concatenate([rng.standard_normal(400), 0.8 + rng.standard_normal(400)])
        fewer = np.concatenate([texts(rng, 60, 400), texts(rng, 30, 400)])
        new = np.concatenate([texts(rng, 200, 400), np.array(["new"] * 80, dtype=object), texts(rng, 200, 320)])
        one_of_many = column(shifted, 400, 1_000)
        found.append([one_of_many, column(shifted, 400, 8), column(fewer, 400, 8), column(new, 400, 8)])

    for each in zip(*found, strict=True):
        assert sum(one.drift != "none" for one in each) >= 18
