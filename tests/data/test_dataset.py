"""The prepared data set: from a file to the arrays of a job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.preprocess.dataset import prepare, prepare_table, split_table
from service.data.preprocess.sources import load
from service.data.processes.ingest import ingest
from service.errors import InvalidSpec
from service.spec.read_options import ReadOptions
from service.spec.resolve import RowCounts
from tests.data.tables import ALLOWED, PENGUINS, Stored, store
from tests.examples import sampled
from tests.specs import synthetic


@pytest.fixture(scope="module")
def penguins(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    parquet = tmp_path_factory.mktemp("penguins") / "data.parquet"
    found = ingest(PENGUINS, parquet, ReadOptions(), ALLOWED)
    return Stored(parquet, found.rows, found.columns, found.warnings, found.read_as, found.duplicate_rows)


def test_the_penguins_become_arrays_of_the_resolved_shape(penguins: Stored) -> None:
    resolved = penguins.resolve("species", split={"validation": 0.2, "test": 0.1})

    prepared = prepare(resolved.preparation, penguins.parquet)

    parts = (prepared.train, prepared.validation, prepared.test)
    assert [len(part.x) for part in parts] == [241, 69, 34]
    assert [len(part.x) for part in parts] == [resolved.rows.train, resolved.rows.validation, resolved.rows.test]
    assert prepared.preprocessing.input_names == [
        *("island=Biscoe", "island=Dream", "island=Torgersen"),
        *("bill_length_mm", "bill_length_mm is missing", "bill_depth_mm", "bill_depth_mm is missing"),
        *("flipper_length_mm", "flipper_length_mm is missing", "body_mass_g", "body_mass_g is missing"),
        *("sex=female", "sex=male", "sex is missing", "year"),
    ]
    for part in parts:
        assert part.x.shape[1] == resolved.inputs == 15
        assert part.x.dtype == np.float32
        assert part.y.dtype == np.int64
        assert np.isfinite(part.x).all()
        assert part.padded.shape == (len(part.y), 32)
        assert not part.padded[:, 15:].any()
        assert part.padded.flags.c_contiguous
        assert part.padded.ctypes.data % 64 == 0


def test_the_classes_keep_their_shares_in_every_part(penguins: Stored) -> None:
    prepared = prepare(penguins.resolve("species").preparation, penguins.parquet)

    assert prepared.preprocessing.target.classes == ["Adelie", "Chinstrap", "Gentoo"]
    shares = np.array([152, 68, 124]) * 69 / 344
    assert np.abs(np.bincount(prepared.validation.y.astype(int)) - shares).max() < 1


def test_a_regression_leaves_out_rows_without_a_target_and_standardizes_the_rest(penguins: Stored) -> None:
    resolved = penguins.resolve("body_mass_g")

    prepared = prepare(resolved.preparation, penguins.parquet)

    assert (len(prepared.train.y), len(prepared.validation.y), len(prepared.test.y)) == (274, 68, 0)
    assert prepared.train.y.dtype == np.float32
    assert prepared.train.y.mean() == pytest.approx(0, abs=1e-5)
    assert prepared.train.y.std() == pytest.approx(1, abs=1e-5)


def test_training_inputs_have_mean_0_and_deviation_1(penguins: Stored) -> None:
    prepared = prepare(penguins.resolve("species", data={"features": ["year"]}).preparation, penguins.parquet)

    assert prepared.train.x.mean() == pytest.approx(0, abs=1e-5)
    assert prepared.train.x.std() == pytest.approx(1, abs=1e-5)


def test_the_same_job_prepares_the_same_bytes(penguins: Stored) -> None:
    first, again = (prepare(penguins.resolve("species").preparation, penguins.parquet) for _ in range(2))

    assert first.train.x.tobytes() == again.train.x.tobytes()
    assert first.preprocessing == again.preprocessing


def test_a_split_in_row_order_gives_the_first_rows_to_training() -> None:
    resolved = synthetic(split={"validation": 0.25, "shuffle": False}, preprocess={"numeric": "none"})

    prepared = prepare(resolved.preparation, None)

    x = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    np.testing.assert_array_equal(prepared.train.x, x[:45])
    np.testing.assert_array_equal(prepared.validation.x, x[45:])


def test_whole_groups_are_counted_when_the_rows_are_there(penguins: Stored) -> None:
    resolved = penguins.resolve("species", split={"group": "island", "validation": 0.4}, batch_size="full")

    prepared = prepare(resolved.preparation, penguins.parquet)
    counted = prepared.counted(resolved)

    assert resolved.rows == RowCounts(206, 138, 0, 0, exact=False)
    assert "island=Biscoe" not in prepared.preprocessing.input_names
    sizes = {len(prepared.train.x), len(prepared.validation.x)}
    assert sizes in ({168, 176}, {124, 220}, {52, 292})
    assert counted.rows == RowCounts(len(prepared.train.x), len(prepared.validation.x), 0, 0)
    assert counted.batch_rows == len(prepared.train.x)
    assert counted.array_key == resolved.array_key


def test_rows_in_time_order_train_first(penguins: Stored) -> None:
    features = {"features": ["year", "bill_length_mm"]}
    split = {"order_by": "year", "test": 0.2}
    resolved = penguins.resolve("species", data=features, split=split, preprocess={"numeric": "none"})

    prepared = prepare(resolved.preparation, penguins.parquet)

    years = [part.x[:, 0] for part in (prepared.train, prepared.validation, prepared.test)]
    assert [len(part) for part in years] == [206, 69, 69]
    assert (np.diff(np.concatenate(years)) >= 0).all()
    assert prepared.counted(resolved) == resolved


def test_a_part_that_turns_out_to_be_empty_is_an_invalid_spec(tmp_path: Path) -> None:
    lines = (f"{i},train,{i % 2}\n" for i in range(20))
    stored = store(tmp_path, "x,part,y\n" + "".join(lines) + "99,validation,\n" * 9)

    resolved = stored.resolve("y", split={"column": "part"})
    prepared = prepare(resolved.preparation, stored.parquet)

    with pytest.raises(InvalidSpec, match="the split leaves no validation rows"):
        prepared.counted(resolved)


def test_inline_rows_can_be_split_by_a_column_that_is_no_feature() -> None:
    x = [[float(i), float(i % 4)] for i in range(40)]
    resolved = synthetic(data={"kind": "inline", "x": x, "y": [0, 1] * 20}, split={"group": "x1"})

    prepared = prepare(resolved.preparation, None)

    assert prepared.preprocessing.input_names == ["x0"]
    assert (len(prepared.train.x), len(prepared.validation.x)) == (30, 10)


PREPROCESS: list[dict[str, Any]] = [
    *({"numeric": kind} for kind in ("standardize", "robust", "quantile", "piecewise_linear")),
    {"max_categories": 2, "high_cardinality": "target", "clip_target": True},
    {"max_categories": 2, "high_cardinality": "frequency"},
]


@sampled(12, 40)
@given(
    share=st.sampled_from([0.02, 0.1, 0.5, 0.97, 1.0]),
    seed=st.integers(0, 5),
    split=st.sampled_from([{"test": 0.2}, {"folds": 3, "test": 0.2}, {"group": "island"}, {"shuffle": False}]),
    preprocess=st.sampled_from(PREPROCESS),
)
def test_training_rows_that_are_left_out_decide_nothing(
    penguins: Stored, share: float, seed: int, split: dict[str, Any], preprocess: dict[str, Any]
) -> None:
    features = ["bill_length_mm", "sex", "species"]
    every, drawn = (
        penguins.resolve("body_mass_g", data={"features": features}, split={**split, **fraction}, preprocess=preprocess)
        for fraction in ({}, {"train_fraction": share, "train_seed": seed})
    )
    whole = prepare(every.preparation, penguins.parquet)
    table = load(drawn.preparation, penguins.parquet)
    kept = split_table(drawn.preparation, table)
    left_out = np.setdiff1d(np.arange(table.rows), np.concatenate([kept.train, kept.validation, kept.test]))
    changed = {name: values.copy() for name, values in table.columns.items()}
    for name in {"body_mass_g", *features} & changed.keys():
        changed[name][left_out] = None if changed[name].dtype == object else 1e6

    some, again = (prepare_table(drawn.preparation, each) for each in (table, replace(table, columns=changed)))

    assert len(left_out) == len(whole.train.y) - len(some.train.y)
    if drawn.rows.exact:
        assert len(some.train.y) == drawn.rows.train
        assert (len(left_out) > 0) == (share < 1.0)
    assert some.preprocessing.model_dump_json() == again.preprocessing.model_dump_json()
    for part in ("train", "validation", "test"):
        own, other, all_rows = (getattr(each, part) for each in (some, again, whole))
        assert own.padded.tobytes() == other.padded.tobytes()
        assert own.y.tobytes() == other.y.tobytes()
        assert np.isfinite(own.x).all()
        if part != "train" or share == 1.0:
            assert own.row.tolist() == all_rows.row.tolist()
        if share == 1.0:
            assert own.padded.tobytes() == all_rows.padded.tobytes()
            assert own.y.tobytes() == all_rows.y.tobytes()
