"""Columns that tell each other form groups; unrelated ones do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from service.reports.associations import associations, coded, correlation_ratio, cramers_v, groups_of, ranked


def texts(numbers: object) -> np.ndarray:
    return np.array([f"t{number}" for number in numbers], dtype=object)  # type: ignore[attr-defined]


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=60))
def test_rank_correlation_equals_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    if len({*first}) == 1 or len({*second}) == 1:
        assert associations([first, second])[0, 1] == 0.0
    else:
        assert associations([first, second])[0, 1] == pytest.approx(abs(spearmanr(first, second).statistic), abs=1e-9)


def test_cramers_v_is_1_for_renamed_texts_and_0_for_independent_ones() -> None:
    numbers = np.arange(600)

    assert cramers_v(coded(texts(numbers % 3)), coded(texts((numbers % 3) * 7))) == pytest.approx(1.0)
    assert cramers_v(coded(texts(numbers % 3)), coded(texts(numbers // 3 % 4))) == 0.0
    assert cramers_v(coded(texts(numbers % 3)), coded(texts(numbers * 0))) == 0.0


def test_the_correlation_ratio_is_1_where_a_text_decides_the_number_and_0_for_noise() -> None:
    rng = np.random.default_rng(0)
    group = np.arange(1_000) % 5

    assert correlation_ratio(coded(texts(group)), ranked(group * 2.5)) == pytest.approx(1.0)
    assert correlation_ratio(coded(texts(group)), ranked(rng.standard_normal(1_000))) < 0.15
    assert correlation_ratio(coded(texts(range(1_000))), ranked(rng.standard_normal(1_000))) < 0.15


def test_groups_go_across_kinds_and_through_others() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(2_000)
    columns = {
        "noise": rng.standard_normal(2_000),
        "x": x,
        "cube": x**3,
        "alone": texts(rng.integers(0, 4, 2_000)),
        "sign": texts(x > 0),
    }

    assert groups_of(columns) == [["x", "cube", "sign"]]


def test_missing_values_and_constants_make_no_group() -> None:
    nothing, constant = np.full(50, np.nan), np.ones(50)

    assert groups_of({"a": nothing, "b": constant, "c": np.full(50, None, dtype=object), "d": np.arange(50.0)}) == []


def test_of_many_columns_the_first_ones_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.reports.associations.MAX_COLUMNS", 3)
    x, y = np.random.default_rng(0).standard_normal((2, 100))

    assert groups_of({"a": x, "b": y, "c": x, "d": y}) == [["a", "c"]]
