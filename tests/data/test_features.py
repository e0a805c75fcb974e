"""Feature encoding of one column: dates, booleans, rare texts, missing values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.preprocess.features import DAY, FittedFeature, class_indexes
from service.spec.input_layout import codes_of
from service.spec.resolved import Feature
from service.spec.table import ColumnType
from tests.data.test_preprocessing import fitted, written

DATES = np.array(["2024-03-01T06:00", "2024-02-01T00:00", "2025-02-01T00:00"], dtype="datetime64[s]").astype(float)
NUMERIC = ("standardize", "robust", "quantile", "piecewise_linear", "none")


def test_a_date_is_the_days_since_the_first_and_its_place_in_day_week_and_year() -> None:
    feature = fitted(DATES.tolist(), "none", ColumnType.datetime)

    inputs = np.array(written(feature, [*DATES, DATES[1] - DAY]))

    assert inputs[:, 0].tolist() == [29.25, 0, 366, -1]
    assert feature.input_names == [
        *("x, days", "x, sine of the day", "x, cosine of the day", "x, sine of the week", "x, cosine of the week"),
        *("x, sine of the year", "x, cosine of the year"),
    ]
    np.testing.assert_allclose(inputs[:, 1:3], [[1, 0], [0, 1], [0, 1], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(np.hypot(inputs[:, 1::2], inputs[:, 2::2]), 1, rtol=1e-6)
    a_week_later, a_year_later = written(feature, [DATES[1] + 7 * DAY, DATES[1] + 365.2425 * DAY])
    np.testing.assert_allclose(a_week_later[3:5], inputs[1, 3:5], atol=1e-6)
    np.testing.assert_allclose(a_year_later[5:7], inputs[1, 5:7], atol=1e-6)


def test_the_days_of_a_date_are_scaled_like_any_number() -> None:
    for numeric in ("standardize", "quantile", "robust"):
        date = fitted(DATES.tolist(), numeric, ColumnType.datetime)
        number = fitted(((DATES - DATES.min()) / DAY).tolist(), numeric)

        days = [row[0] for row in written(date, DATES.tolist())]
        assert days == [row[0] for row in written(number, ((DATES - DATES.min()) / DAY).tolist())]


def test_booleans_have_no_ranks() -> None:
    values = [1.0, 0.0, 0.0, 1.0]

    assert written(fitted(values, "quantile", ColumnType.boolean), values) == [[1], [-1], [-1], [1]]
    for numeric in ("none", "robust", "piecewise_linear"):
        assert written(fitted(values, numeric, ColumnType.boolean), values) == [[1], [0], [0], [1]]


@pytest.mark.parametrize("numeric", ["quantile", "robust", "piecewise_linear"])
def test_with_quantiles_a_missing_number_becomes_the_median(numeric: Any) -> None:
    feature = fitted([0.0, 1.0, 1000.0, np.nan], numeric, indicator=True)

    assert written(feature, [np.nan, 1.0]) == [[0, 1], [0, 0]]


def test_rare_and_unseen_texts_share_an_input_where_there_is_one() -> None:
    feature = FittedFeature(column="c", type=ColumnType.text, categories=["a", "b"], other=True, indicator=True)

    assert feature.input_names == ["c=a", "c=b", "c=(other)", "c is missing"]
    assert written(feature, ["a", "rare", None, "unseen"], object) == [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 1, 0],
    ]


@pytest.mark.parametrize("numeric", NUMERIC)
@pytest.mark.parametrize("kind", [ColumnType.number, ColumnType.integer, ColumnType.boolean, ColumnType.datetime])
@pytest.mark.parametrize("train", [[1.0, 0.0, np.nan], [np.nan, np.nan], [1.0, 1.0]])
def test_every_type_says_what_is_missing_and_stays_finite(kind: ColumnType, numeric: Any, train: list[float]) -> None:
    feature = fitted(train, numeric, kind, indicator=True)

    inputs = np.array(written(feature, [1.0, np.nan]))

    assert inputs[:, -1].tolist() == [0, 1]
    assert np.isfinite(inputs).all()
    assert inputs.shape[1] == feature.width == Feature("x", kind, indicator=True).width


@pytest.mark.parametrize("numeric", NUMERIC)
def test_a_feature_is_the_same_after_a_trip_through_json(numeric: Any) -> None:
    values = np.random.default_rng(1).lognormal(0, 3, 5_000)
    feature = fitted(values.tolist(), numeric)

    again = FittedFeature.model_validate_json(feature.model_dump_json())

    assert again == feature
    assert written(again, values.tolist()) == written(feature, values.tolist())


def test_features_of_older_checkpoints_are_still_read() -> None:
    old = '{"column":"x","categories":null,"fill":1.5,"mean":1.5,"scale":2.0,"indicator":true}'

    assert written(FittedFeature.model_validate_json(old), [3.5, np.nan]) == [[1, 0], [0, 1]]


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("indicator", [False, True])
def test_codes_are_the_inputs_that_one_hot_encoding_would_set(other: bool, indicator: bool) -> None:
    texts = np.array(["b", "a", None, "never seen", "a"], dtype=object)
    one_hot = Feature("x", ColumnType.text, ("a", "b"), other=other, indicator=indicator)
    inputs = np.array(written(FittedFeature.fit(one_hot, texts, "standardize"), texts.tolist(), object))

    coded = FittedFeature.fit(replace(one_hot, embedding_size=3), texts, "standardize")

    # Code n is the input n - 1; code 0 is none of them.
    expected = [int(row.argmax()) + 1 if row.any() else 0 for row in inputs]
    assert coded.codes(texts).tolist() == expected
    assert (coded.width, coded.input_names) == (0, [])
    assert codes_of(coded) == 1 + inputs.shape[1]


CLASS_SETS = st.sampled_from(
    [[0, 1], [3, -2, 7.5, 0], [True, False], [1e300, -1e-300, 2**53], [2**53 + 1, 2**53], ["1", "a"], [1], []]
)


@given(CLASS_SETS, st.lists(st.sampled_from([0.0, -0.0, 1.0, 7.5, -2.0, 3.0, 2.0**53, 1e300, np.nan, np.inf, -5.0])))
def test_classes_of_numbers_are_found_as_python_finds_them(classes: list[Any], values: list[float]) -> None:
    index = {value: place for place, value in enumerate(classes)}

    found = class_indexes(np.array(values, dtype=np.float64), classes)

    assert found.dtype == np.int64
    assert found.tolist() == [index.get(value, -1) for value in values]
