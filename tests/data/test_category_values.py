"""Frequency and target encoding: formulas, no leakage into a row's own inputs, unseen and missing texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.data.preprocess import category_values
from service.data.preprocess.category_values import INNER_FOLDS, TargetMeans, frequencies, vocabulary
from service.data.preprocess.dataset import prepare
from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import Preprocessing
from service.data.preprocess.sources import load, table_from_rows
from service.data.preprocess.split import split_rows
from service.spec import data as spec_data
from service.spec.resolved import Feature
from service.spec.table import ColumnType
from tests.data.tables import Stored, store
from tests.data.test_preprocessing import written

ROWS = 400


def codes_of(draw_codes: list[int]) -> NDArray[np.int64]:
    return np.array(draw_codes, dtype=np.int64)


CODES = st.lists(st.integers(-1, 5), min_size=2, max_size=60).map(codes_of)


def mean_by_hand(codes: NDArray[Any], y: NDArray[Any], code: int, smoothing: float) -> Any:
    """The m-estimate of the mean of y (n, inputs) in a category, one row at a time."""
    prior = sum(y) / len(y)
    own = [value for place, value in zip(codes, y, strict=True) if place == code and code >= 0]
    return (sum(own) + smoothing * prior) / (len(own) + smoothing) if len(own) + smoothing else prior


@given(CODES, st.sampled_from([0.0, 0.5, 10.0]), st.integers(0, 4), st.data())
def test_target_means_are_smoothed_means_in_deviations_of_the_target(
    codes: NDArray[np.int64], smoothing: float, classes: int, data: st.DataObject
) -> None:
    classes = classes if classes != 1 else 0
    if classes:
        y: Any = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=len(codes), max_size=len(codes))))
        wanted = np.eye(classes)[y] if classes > 2 else (y == 1).astype(float)[:, None]
    else:
        values = data.draw(st.lists(st.integers(-900, 900), min_size=len(codes), max_size=len(codes)))
        y = np.array(values, dtype=np.float32) / 100
        wanted = y.astype(np.float64)[:, None]
    means = TargetMeans(y, classes, smoothing, 3)

    found = means.of_categories(codes, 6)

    deviation = wanted.std(axis=0)
    deviation = np.where(deviation > 1e-12, deviation, 1.0)
    expected = [
        (mean_by_hand(codes, wanted, code, smoothing) - wanted.mean(axis=0)) / deviation for code in (*range(6), -1)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    # Each row's own value: the same computed without its inner fold.
    fold = np.random.default_rng(3).permutation(len(codes)) % INNER_FOLDS
    for row, value in enumerate(means.out_of_fold(codes, 6)):
        others = fold != fold[row]
        mean = mean_by_hand(codes[others], wanted[others], codes[row], smoothing)
        np.testing.assert_allclose(value, (mean - wanted.mean(axis=0)) / deviation, rtol=1e-4, atol=1e-4)


@given(CODES)
def test_frequencies_are_standardized_shares_of_the_rows(codes: NDArray[np.int64]) -> None:
    found = frequencies(codes, 6)[:, 0]

    shares = np.array([(codes == code).mean() for code in range(6)] + [0.0])
    of_rows = shares[codes]
    np.testing.assert_allclose(found, (shares - of_rows.mean()) / (of_rows.std() or 1.0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_no_input_of_a_training_row_depends_on_its_own_target(classes: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 7, 100)
    y: Any = rng.integers(0, classes, 100) if classes else rng.standard_normal(100).astype(np.float32)
    fold = np.random.default_rng(5).permutation(100) % INNER_FOLDS
    means = TargetMeans(y, classes, 10.0, 5)
    changed = y.copy()
    changed[fold == 2] = (y[fold == 2] + 1) % classes if classes else -7.5

    before, after = (each._means(codes, fold != 2, 7) for each in (means, means._replace(y=changed)))

    assert before.tobytes() == after.tobytes()
    assert (
        means.out_of_fold(codes, 7)[fold != 2].tobytes()
        != means._replace(y=changed).out_of_fold(codes, 7)[fold != 2].tobytes()
    )


def streets(folder: Path, y: str) -> Stored:
    """A table of 400 rows with a column of 60 texts, some missing; y: the kind of the target."""
    rng = np.random.default_rng(1)
    names = [f"street {number}" for number in rng.integers(0, 60, ROWS)]
    targets = {
        "number": [repr(float(v)) for v in rng.standard_normal(ROWS)],
        "noise": rng.permutation(["u", "v"] * 200),
    }
    targets["three"] = rng.permutation([*("abc" * 134)])[:ROWS]
    lines = (f"{'' if i % 20 == 7 else names[i]},{i % 13},{targets[y][i]}\n" for i in range(ROWS))
    return store(folder, "street,n,y\n" + "".join(lines))


@pytest.mark.parametrize(("y", "inputs"), [("number", 1), ("noise", 1), ("three", 3)])
def test_the_inputs_of_a_wide_column_are_its_mean_targets(tmp_path: Path, y: str, inputs: int) -> None:
    stored = streets(tmp_path, y)
    resolved = stored.resolve("y", preprocess={"high_cardinality": "target"}, data={"features": ["street", "n"]})

    prepared = prepare(resolved.preparation, stored.parquet)

    assert [feature.width for feature in resolved.features] == [inputs + 1, 1]
    assert prepared.train.x.shape[1] == resolved.inputs == inputs + 2
    feature = prepared.preprocessing.features[0]
    assert feature.categories is not None
    assert 40 < len(feature.categories) <= 60
    rows = [{"street": street, "n": 1} for street in (feature.categories[3], "never seen", None)]
    known, unseen, missing = prepared.preprocessing.inputs(table_from_rows(rows, prepared.preprocessing))[:, :inputs]
    assert feature.values is not None
    assert known.tolist() == np.array(feature.values[3], dtype=np.float32).tolist()
    assert unseen.tolist() == missing.tolist() == [0.0] * inputs  # the overall mean


@pytest.mark.parametrize("kind", ["frequency", "target"])
def test_held_out_rows_decide_nothing(tmp_path: Path, kind: str) -> None:
    stored = streets(tmp_path, "number")
    resolved = stored.resolve("y", preprocess={"high_cardinality": kind, "clip_target": True})
    table = load(resolved.preparation, stored.parquet)
    train = split_rows(table.rows, resolved.spec.split).train
    changed = {name: values.copy() for name, values in table.columns.items()}
    for values in changed.values():
        held_out = np.setdiff1d(np.arange(table.rows), train)
        values[held_out] = None if values.dtype == object else 1e6
    other = type(table)(changed, table.rows)

    first, again = (Preprocessing.fit(resolved.preparation, each, train) for each in (table, other))

    assert first.model_dump_json() == again.model_dump_json()
    inputs = []
    for fitted, rows in ((first, table), (again, other)):
        own = fitted.padded_inputs(rows, train)
        fitted.encode_out_of_fold(resolved.preparation, rows, own, train)
        inputs.append(own)
    assert inputs[0].tobytes() == inputs[1].tobytes()


def test_target_encoding_of_noise_predicts_nothing_on_its_training_rows(tmp_path: Path) -> None:
    stored = streets(tmp_path, "noise")
    resolved = stored.resolve("y", preprocess={"high_cardinality": "target", "target_smoothing": 0.0})
    prepared = prepare(resolved.preparation, stored.parquet)

    own = prepared.train.x[:, 0], prepared.train.y

    # In fold, the mean of few rows contains the row's own target: a correlation of about 1 / sqrt(rows of a category).
    table = load(resolved.preparation, stored.parquet)
    train = split_rows(table.rows, resolved.spec.split, prepared.preprocessing.targets(table)).train
    in_fold = prepared.preprocessing.inputs(table)[train][:, 0]
    assert np.corrcoef(in_fold, own[1])[0, 1] > 0.3
    assert np.corrcoef(*own)[0, 1] < 0.1


def test_the_same_seed_gives_the_same_inner_folds_and_another_one_others(tmp_path: Path) -> None:
    stored = streets(tmp_path, "number")
    jobs = [
        stored.resolve("y", preprocess={"high_cardinality": "target"}, split={"seed": seed, "column": None}, seed=n)
        for seed, n in ((0, 1), (0, 2), (5, 1))
    ]

    first, same, other = (prepare(job.preparation, stored.parquet).train.x.tobytes() for job in jobs)

    assert first == same != other


def test_narrow_columns_stay_one_hot(tmp_path: Path) -> None:
    lines = "".join(f"{'ab'[i % 2]},{i % 40},{i / 7}\n" for i in range(200))
    resolved = store(tmp_path, "few,many,y\n" + lines, null=["NA"]).resolve(
        "y", preprocess={"high_cardinality": "target"}
    )

    assert resolved.features[0] == Feature("few", ColumnType.text, ("a", "b"))


@pytest.mark.parametrize("kind", ["frequency", "target"])
def test_a_feature_round_trips_and_old_rules_hold(kind: str) -> None:
    texts = np.array(["b", "a", None, "a", "b", "a"], dtype=object)
    means = TargetMeans(np.array([0, 1, 0, 1, 1, 0]), 2, 1.0, 0) if kind == "target" else None
    feature = FittedFeature.fit(
        Feature("t", ColumnType.text, (), indicator=True, value_inputs=1), texts, "standardize", means
    )

    again = FittedFeature.model_validate_json(feature.model_dump_json())

    assert again == feature
    assert feature.input_names == ["t, value", "t is missing"]
    values = ["a", None, "z"]
    assert written(again, values, object) == written(feature, values, object)
    assert [row[1] for row in written(feature, values, object)] == [0, 1, 0]


@settings(max_examples=30)
@given(st.lists(st.text(max_size=3) | st.none(), max_size=30), st.integers(1, 4))
def test_the_vocabulary_has_the_most_frequent_texts(texts: list[str | None], most: int) -> None:
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec_data, "MAX_TEXTS", most)
        found = vocabulary(np.array([*texts, None], dtype=object)[:-1], 1)

    present = {text for text in texts if text is not None}
    assert found == sorted(found)
    assert len(found) == min(most, len(present))
    least = min((texts.count(text) for text in found), default=0)
    assert all(texts.count(text) <= least for text in present - {*found})


def test_the_vocabulary_is_bounded_in_characters_and_numbers() -> None:
    texts = np.array([f"{place:09}" * 100 for place in range(3_000)] * 2, dtype=object)

    assert sum(map(len, vocabulary(texts, 1))) <= category_values.MAX_CHARACTERS
    assert len(vocabulary(texts, 1_000)) * 1_000 <= spec_data.MAX_TEXT_NUMBERS


def test_extreme_targets_give_finite_inputs() -> None:
    y = np.array([3e38, -3e38, 1e-40, 0.0], dtype=np.float32)
    means = TargetMeans(y, 0, 0.0, 0)
    texts = np.array(["a", "b", "a", "c"], dtype=object)

    feature = FittedFeature.fit(Feature("t", ColumnType.text, (), value_inputs=1), texts, "none", means)

    assert np.isfinite(feature.values).all()
    assert np.isfinite(means.out_of_fold(np.array([0, 1, 0, 2]), 3)).all()
