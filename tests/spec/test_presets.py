"""Presets become plain sweeps; files of recipes never change."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidSpec
from service.spec.job import JobSpec
from service.spec.presets import VERSION, PlainSweep, Preset, expand
from service.spec.resolve import resolve
from service.spec.sweep import SweepSpec, changed
from service.spec.sweep import expand as points_of
from service.spec.table import TableProfile
from tests.spec.tables import TABLE, column, spec

PUBLISHED = {"tabular-1.toml": "e267c469a7dab08d94d0bbb7f6d5df96d307ac77805b0dd11dc95554241ae65c"}
"""SHA-256 of each file of recipes."""


def of_rows(rows: int, *, missing: int = 0) -> TableProfile:
    return TableProfile(rows=rows, columns=[column("length"), column("price", missing=missing, distinct=rows)])


def plain(preset: str = "best", table: TableProfile = TABLE, target: str = "species", **base: Any) -> PlainSweep:
    return expand(Preset(preset), spec(target, **base), table)


def test_files_of_recipes_that_were_published_have_not_changed() -> None:
    folder = files("service").joinpath("recipes")
    recipes = (file for file in folder.iterdir() if file.name.endswith(".toml"))

    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in recipes} == PUBLISHED
    assert f"{VERSION}.toml" in PUBLISHED


@pytest.mark.parametrize("preset", Preset)
@pytest.mark.parametrize("target", ["species", "length"])
def test_every_point_of_a_preset_is_a_sweep_that_can_be_submitted_as_it_is(preset: Preset, target: str) -> None:
    base = spec(target, task="classification" if target == "species" else "regression")

    found = expand(preset, base, TABLE)

    sweep = SweepSpec(base=base, points=found.points, folds=found.folds, replicates=found.replicates)
    jobs = [resolve(JobSpec.model_validate(changed(base, point.changes)), TABLE) for point in points_of(sweep)]
    assert len(jobs) == sweep.size == len(found.points) * (found.folds or 1)
    assert {job.spec.preprocess.clip_target for job in jobs} == {target == "length"}


def test_fast_is_one_network_good_one_recipe_and_best_several() -> None:
    fast, good, best = (plain(preset) for preset in ("fast", "good", "best"))

    assert (len(fast.points), fast.folds, fast.replicates) == (1, None, 1)
    assert (len(good.points), good.folds) == (1, 8)
    assert len(best.points) > 2
    assert good.points[0] in best.points


@pytest.mark.parametrize(
    ("rows", "folds", "replicates"),
    [(19_999, 8, 1), (20_000, 5, 1), (99_999, 5, 1), (100_000, None, 3), (7, 3, 1), (3, None, 3)],
)
def test_tables_have_folds_by_their_rows(rows: int, folds: int | None, replicates: int) -> None:
    found = plain("good", of_rows(rows), "price")

    assert (found.folds, found.replicates) == (folds, replicates)


def test_rows_without_a_target_and_test_rows_are_in_no_fold() -> None:
    assert plain("good", of_rows(20_100, missing=200), "price").folds == 8
    assert plain("good", of_rows(25_000), "price", split={"test": 0.2}).folds == 5
    assert plain("good", of_rows(24_900), "price", split={"test": 0.2}).folds == 8


@pytest.mark.parametrize(
    ("rows", "size"), [(1_000, 32), (1_168, 32), (1_180, 128), (9_000, 128), (10_000, 256), (99_000, 512)]
)
def test_the_batch_size_follows_from_the_training_rows_of_a_fold(rows: int, size: int) -> None:
    found = plain("good", of_rows(rows), "price")

    assert [point["batch_size"] for point in found.points] == [size]


def test_recipes_with_a_schedule_train_to_its_end_and_small_tables_longer() -> None:
    small, large = (plain("best", of_rows(rows), "price").points for rows in (1_000, 9_000))

    epochs = [[point["max_epochs"] for point in points if "schedule" in point] for points in (small, large)]
    assert epochs == [[51], [24]]
    for point in (*small, *large):
        assert (point["early_stopping"] is None) == ("schedule" in point)


@pytest.mark.parametrize(
    "split", [{"validation": 0.3}, {"order_by": "length"}, {"column": "island"}, {"folds": 4, "fold": 2}]
)
def test_a_split_of_the_base_that_leaves_no_choice_of_folds_is_kept_with_more_seeds(split: dict[str, Any]) -> None:
    found = plain("good", split=split)

    assert (found.folds, found.replicates) == (None, 3)


def test_there_are_no_more_folds_than_groups() -> None:
    assert plain("good", split={"group": "island"}).folds == 3
    assert plain("good", split={"group": "island", "test": 0.2}).folds == 2


def test_what_the_base_sets_stays() -> None:
    base = {"batch_size": 32, "preprocess": {"numeric": "quantile"}, "optimizer": {"lr": 0.01}}

    found = plain(**base)

    names = {name for point in found.points for name in point}
    assert "batch_size" not in names
    assert "preprocess.numeric" not in names
    assert not [name for name in names if name.startswith("optimizer")]


def test_recipes_that_differ_only_in_what_the_base_sets_are_one_point() -> None:
    everything = ("architecture", "optimizer", "schedule", "early_stopping", "averaging", "loss")
    base = JobSpec.model_validate(spec().model_dump(mode="json", include={"data", "preprocess", *everything}))
    base = JobSpec.model_validate(changed(base, {"max_epochs": 7, "batch_size": 16}))

    assert expand(Preset.best, base, TABLE).points == [{}]


def test_an_architecture_for_images_keeps_the_columns_as_they_are() -> None:
    table = TableProfile(rows=100, columns=[*(column(f"p{i}") for i in range(12)), column("y", "text", distinct=2)])
    base = spec("y", architecture={"kind": "cnn", "shape": [1, 3, 4], "pool": 1})

    found = expand(Preset.best, base, table)

    assert not [name for point in found.points for name in point if name.startswith("preprocess")]
    for point in found.points:
        resolve(JobSpec.model_validate(changed(base, point)), table)


def test_a_task_that_does_not_fit_the_target_is_refused() -> None:
    with pytest.raises(InvalidSpec) as error:
        plain(task="regression")

    assert error.value.field_errors[0].pointer == "/task"


@given(st.integers(2, 300_000), st.sampled_from(Preset), st.sampled_from([0.0, 0.2]))
def test_the_sweep_depends_only_on_preset_base_and_table(rows: int, preset: Preset, test: float) -> None:
    first, second = (plain(preset, of_rows(rows), "price", split={"test": test}) for _ in range(2))

    assert first == second
    assert first.folds is None or first.folds * 2 <= rows
