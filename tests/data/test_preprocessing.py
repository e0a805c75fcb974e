"""Preprocessing equals scikit-learn, is fitted on training rows only, and survives a JSON round trip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from service.data.preprocess.features import FittedFeature, Numeric
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing, Table
from service.data.preprocess.sources import load
from service.errors import DatasetCorrupt
from service.spec.job import JobSpec
from service.spec.resolve import Feature, Resolved, profile_of, resolve
from service.spec.table import ColumnType
from tests.data.tables import PENGUINS, Stored, store

TRAIN = np.arange(0, 340, 2)


@pytest.fixture(scope="module")
def penguins(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return store(tmp_path_factory.mktemp("penguins"), PENGUINS)


def inline(x: list[list[float | None]], y: list[Any], **fields: Any) -> tuple[Resolved, Table]:
    spec = JobSpec.model_validate({"data": {"kind": "inline", "x": x, "y": y}, **fields})
    resolved = resolve(spec, profile_of(spec.data))  # type: ignore[arg-type]
    return resolved, load(resolved.preparation, None)


def fitted(
    values: list[float], numeric: Numeric = "standardize", kind: ColumnType = ColumnType.number, **fields: Any
) -> FittedFeature:
    return FittedFeature.fit(Feature("x", kind, **fields), np.array(values, dtype=np.float64), numeric)


def written(feature: FittedFeature, values: list[Any], dtype: type = float) -> list[list[float]]:
    inputs = np.empty((len(values), len(feature.input_names)), dtype=np.float32)
    feature.write(np.array(values, dtype=dtype), inputs)
    return inputs.tolist()


def test_numbers_are_imputed_and_standardized_as_scikit_learn_does(penguins: Stored) -> None:
    resolved = penguins.resolve("species", data={"features": ["bill_length_mm", "body_mass_g"]})
    table = load(resolved.preparation, penguins.parquet)
    x = np.stack([table.columns["bill_length_mm"], table.columns["body_mass_g"]], axis=1)
    imputer = SimpleImputer().fit(x[TRAIN])
    scaler = StandardScaler().fit(x[TRAIN])

    inputs = Preprocessing.fit(resolved.preparation, table, TRAIN).inputs(table)

    np.testing.assert_allclose(inputs[:, [0, 2]], scaler.transform(imputer.transform(x)), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(inputs[:, [1, 3]], np.isnan(x))


def test_texts_become_a_0_or_1_per_value_as_scikit_learn_does(penguins: Stored) -> None:
    resolved = penguins.resolve("body_mass_g", data={"features": ["island", "species"]})
    table = load(resolved.preparation, penguins.parquet)
    x = np.stack([table.columns["island"], table.columns["species"]], axis=1)

    preprocessing = Preprocessing.fit(resolved.preparation, table, TRAIN)

    np.testing.assert_array_equal(preprocessing.inputs(table), OneHotEncoder(sparse_output=False).fit_transform(x))
    assert preprocessing.input_names[2:4] == ["island=Torgersen", "species=Adelie"]


def test_a_missing_or_unseen_text_gives_zeros_and_only_the_missing_one_its_indicator() -> None:
    feature = FittedFeature(column="sex", categories=["female", "male"], indicator=True)

    assert feature.input_names == ["sex=female", "sex=male", "sex is missing"]
    assert written(feature, ["male", None, "unseen"], object) == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_without_standardizing_numbers_stay_and_missing_ones_become_the_mean() -> None:
    assert written(fitted([1.0, 3.0, np.nan], "none"), [1.0, np.nan, 5.0]) == [[1], [2], [5]]


@pytest.mark.parametrize(
    ("train", "values", "inputs"),
    [
        ([0.1, 0.1, 0.1], [0.1, 1.1, np.nan], [0, 1, 0]),
        ([np.nan, np.nan], [np.nan, 3.0], [0, 3]),
        ([-1.7e308, 1.7e308], [1.7e308, -1.7e308], [1, -1]),
        ([0.0, 1e-300], [1e-300, 1e308], [1, np.finfo(np.float32).max]),
    ],
    ids=["constant", "all missing", "huge", "tiny"],
)
def test_inputs_are_finite_whatever_the_training_values(
    train: list[float], values: list[float], inputs: list[float]
) -> None:
    np.testing.assert_allclose(np.ravel(written(fitted(train), values)), inputs, rtol=1e-6)


@pytest.mark.parametrize("numeric", ["standardize", "robust", "quantile", "piecewise_linear", "none"])
def test_only_training_rows_decide_to_the_last_bit(tmp_path: Path, numeric: str) -> None:
    days = np.arange(100).astype("datetime64[D]")
    lines = (f"{i * i},{i % 2 == 0},{days[i]},{'ab'[i % 2]},{i / 7}\n" for i in range(100))
    stored = store(tmp_path, "n,b,d,t,y\n,,,,1\n" + "".join(lines))
    resolved = stored.resolve("y", preprocess={"numeric": numeric})
    table = load(resolved.preparation, stored.parquet)
    train = np.arange(0, table.rows, 2)
    held_out = np.arange(1, table.rows, 2)
    changed = {name: values.copy() for name, values in table.columns.items()}
    for values in changed.values():
        values[held_out] = None if values.dtype == object else -1e12

    preprocessing = Preprocessing.fit(resolved.preparation, table, train)
    other_rows = Preprocessing.fit(resolved.preparation, Table(changed, table.rows), train)

    assert [feature.column for feature in preprocessing.features] == ["n", "b", "d", "t"]
    assert other_rows.model_dump_json() == preprocessing.model_dump_json()
    assert other_rows.inputs(table).tobytes() == preprocessing.inputs(table).tobytes()
    assert Preprocessing.fit(resolved.preparation, table, held_out) != preprocessing


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "b", "a"], ["a", "b"]),
        ([True, False, True, False], [False, True]),
        ([7, 3, 7, 3], [3, 7]),
    ],
    ids=["text", "boolean", "integer"],
)
def test_targets_are_places_in_the_sorted_classes(y: list[Any], classes: list[Any]) -> None:
    resolved, table = inline([[1.0], [2.0], [3.0], [4.0]], y)

    preprocessing = Preprocessing.fit(resolved.preparation, table, np.arange(4))

    assert preprocessing.target.classes == classes
    assert preprocessing.targets(table).tolist() == [1, 0, 1, 0]
    assert preprocessing.targets(table).dtype == np.int64


def test_a_number_target_is_standardized_and_comes_back_in_its_own_unit() -> None:
    resolved, table = inline([[1.0], [2.0], [3.0]], [10.0, 20.0, 60.0], task="regression")

    preprocessing = Preprocessing.fit(resolved.preparation, table, np.array([0, 1]))
    targets = preprocessing.targets(table)

    assert targets.dtype == np.float32
    assert targets.tolist() == [-1.0, 1.0, 9.0]
    assert preprocessing.unstandardize(targets).tolist() == [10.0, 20.0, 60.0]


def test_a_rate_of_any_output_is_finite() -> None:
    target = FittedTarget(column="y", scale=3.0, link="log")

    rates = Preprocessing(features=[], target=target).unstandardize(np.array([0.0, 80.0, 710.0, np.inf]))

    assert rates.tolist() == [3.0, *[np.exp(80.0) * 3.0] * 3]


def test_a_class_that_the_profile_does_not_list_is_a_corrupt_data_set() -> None:
    resolved, table = inline([[1.0], [2.0], [3.0]], ["a", "b", "a"])
    preprocessing = Preprocessing.fit(resolved.preparation, table, np.arange(3))
    table.columns["y"][0] = "c"

    with pytest.raises(DatasetCorrupt, match="'y' holds a value"):
        preprocessing.targets(table)


def test_it_is_the_same_after_a_trip_through_json(penguins: Stored, tmp_path: Path) -> None:
    resolved = penguins.resolve("species")
    table = load(resolved.preparation, penguins.parquet)
    preprocessing = Preprocessing.fit(resolved.preparation, table, TRAIN)

    again = Preprocessing.model_validate_json(preprocessing.model_dump_json())

    assert again == preprocessing
    assert again.inputs(table).tobytes() == preprocessing.inputs(table).tobytes()
