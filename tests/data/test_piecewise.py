"""Robust scaling and piecewise-linear encoding equal their formulas, are finite, and have a fixed width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.data.preprocess.features import DAY, FittedFeature
from service.data.preprocess.piecewise import fit_edges, write_bins
from service.data.preprocess.scaling import fit_robust, robust_scaled
from service.spec.resolved import Feature
from service.spec.table import ColumnType
from tests.data.test_preprocessing import fitted, written

NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
EXTREMES = st.floats(allow_nan=True, allow_infinity=False)


def robust(train: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The formula of RealMLP (arXiv 2407.04491, appendix A.3)."""
    q25, median, q75 = np.quantile(train, [0.25, 0.5, 0.75])
    spread = q75 - q25 if q75 > q25 else (train.max() - train.min()) / 2
    z = (x - median) / spread if spread else np.zeros_like(x)
    return np.asarray(z / np.sqrt(1 + (z / 3) ** 2))


def encoded(train: NDArray[np.float64], x: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """The formula of Gorishniy et al. (arXiv 2203.05556), without limit for values beyond the first and last edge."""
    edges = np.unique(np.quantile(train, np.linspace(0, 1, bins + 1)))
    shares = (x[:, None] - edges[:-1]) / np.diff(edges)
    shares[:, 1:] = np.maximum(shares[:, 1:], 0)
    shares[:, :-1] = np.minimum(shares[:, :-1], 1)
    return shares


@given(st.lists(NUMBERS, min_size=1, max_size=80), st.lists(NUMBERS, min_size=1, max_size=20))
def test_robust_scaling_is_that_of_the_paper(train: list[float], values: list[float]) -> None:
    median, scale = fit_robust(np.array([*train, np.nan]))

    scaled = robust_scaled(np.array(values), median, scale)

    np.testing.assert_allclose(scaled, robust(np.array(train), np.array(values)), rtol=1e-5, atol=1e-6)
    assert (np.abs(scaled) <= 3).all()


@given(st.integers(2, 24), st.integers(0, 2**32), st.floats(0.1, 4.0))
def test_the_encoding_of_distinct_values_is_that_of_the_paper(bins: int, seed: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    train, within = rng.lognormal(0, sigma, 100), rng.random(50)
    values = train.min() + within * (train.max() - train.min())
    inputs = np.empty((50, bins), dtype=np.float32)

    write_bins(values, fit_edges(train, bins), inputs)

    np.testing.assert_allclose(inputs, encoded(train, values, bins), rtol=1e-4, atol=1e-5)


def test_values_beyond_the_edges_go_on_for_two_widths() -> None:
    edges = fit_edges(np.array([0.0, 1.0, 3.0]), 2)
    inputs = np.empty((6, 2), dtype=np.float32)

    write_bins(np.array([-0.5, -9.0, 0.5, 2.0, 4.0, 99.0]), edges, inputs)

    assert edges == [0, 1, 3]
    assert inputs.tolist() == [[-0.5, 0], [-2, 0], [0.5, 0], [1, 0.5], [1, 1.5], [1, 3]]


def test_few_distinct_values_are_the_edges_and_inputs_without_a_bin_are_0() -> None:
    feature = fitted([1.0] * 50 + [2.0, 4.0], "piecewise_linear", bins=5)

    assert feature.edges == [1, 2, 4]
    assert feature.input_names == ["x", *(f"x, bin {place}" for place in (1, 2, 3, 4, 5))]
    assert [row[1:] for row in written(feature, [1.0, 3.0])] == [[0, 0, 0, 0, 0], [1, 0.5, 0, 0, 0]]


@pytest.mark.parametrize("train", [[1.0, 2.0, 1.0], [5.0], [np.nan], []])
def test_with_fewer_than_two_bins_there_are_none(train: list[float]) -> None:
    assert fit_edges(np.array(train), 16) == []
    feature = fitted([*train, np.nan], "piecewise_linear", bins=3, indicator=True)
    assert [row[1:] for row in written(feature, [1.5, np.nan])] == [[0, 0, 0, 0], [0, 0, 0, 1]]


@given(
    train=st.lists(EXTREMES, max_size=60),
    values=st.lists(EXTREMES, min_size=1, max_size=20),
    bins=st.integers(2, 40),
    kind=st.sampled_from([ColumnType.number, ColumnType.integer, ColumnType.boolean, ColumnType.datetime]),
    numeric=st.sampled_from(["robust", "piecewise_linear"]),
)
def test_inputs_are_finite_bounded_and_as_many_as_resolved_whatever_the_values(
    train: list[float], values: list[float], bins: int, kind: ColumnType, numeric: Any
) -> None:
    wide = bins if numeric == "piecewise_linear" and kind is not ColumnType.boolean else 0
    resolved = Feature("x", kind, indicator=True, bins=wide)
    feature = FittedFeature.fit(resolved, np.array(train, dtype=np.float64), numeric)

    inputs = np.array(written(feature, values))

    assert inputs.shape == (len(values), resolved.width)
    assert np.isfinite(inputs).all()
    if kind is not ColumnType.boolean:
        assert np.abs(inputs).max() <= 3
    again = FittedFeature.model_validate_json(feature.model_dump_json())
    assert again == feature
    assert written(again, values) == inputs.tolist()


def test_a_date_has_bins_behind_its_waves() -> None:
    days = [0.0, 10.0, 20.0, 40.0]
    feature = fitted([day * DAY for day in days], "piecewise_linear", ColumnType.datetime, bins=3, indicator=True)

    (row,) = written(feature, [30 * DAY])

    assert feature.input_names[7:] == ["x, bin 1", "x, bin 2", "x, bin 3", "x is missing"]
    assert row[7:] == [1, 1, 0.5, 0]
