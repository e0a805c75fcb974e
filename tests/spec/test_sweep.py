"""Expansion of a sweep: its jobs, their order, and the origin of an error."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.spec.job import JobSpec
from service.spec.sweep import Point, SweepSpec, changed, expand

BASE: dict[str, Any] = {"data": {"kind": "synthetic"}}
NAMES = ["optimizer.lr", "seed", "batch_size", "architecture.hidden", "a~b/c"]


def sweep(**fields: Any) -> SweepSpec:
    return SweepSpec.model_validate({"base": BASE, **fields})


def variant(base: dict[str, Any], **changes: Any) -> JobSpec:
    """`base` with changes, whose names have `__` for a dot."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return JobSpec.model_validate(changed(JobSpec.model_validate({**BASE, **base}), dotted))


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.integers(), min_size=1, max_size=4), min_size=1))
def test_a_grid_is_the_product_of_its_values_in_the_order_written(grid: dict[str, list[Any]]) -> None:
    asked = sweep(grid=grid)

    points = list(expand(asked))

    assert [list(point.changes.items()) for point in points] == [
        list(zip(grid, values, strict=True)) for values in product(*grid.values())
    ]
    assert len(points) == asked.size
    assert len({tuple(point.places.values()) for point in points}) == asked.size


@given(st.integers(1, 5), st.integers(0, 1_000), st.lists(st.floats(0.1, 1.0), min_size=1, max_size=4))
def test_replicates_count_the_seeds_up_at_each_point(replicates: int, seed: int, rates: list[float]) -> None:
    asked = sweep(base={**BASE, "seed": seed}, points=[{"optimizer.lr": r} for r in rates], replicates=replicates)

    changes = [point.changes for point in expand(asked)]

    seeds = range(seed, seed + replicates)
    plain = [{"optimizer.lr": rate} for rate in rates]
    assert changes == ([{**p, "seed": s} for p in plain for s in seeds] if replicates > 1 else plain)
    assert len(changes) == asked.size


@pytest.mark.slow
@given(
    st.integers(2, 6),
    st.integers(1, 3),
    st.integers(1, 4),
    st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
)
def test_each_point_is_trained_once_a_repeat_fold_and_seed(
    folds: int, repeats: int, replicates: int, sizes: list[int]
) -> None:
    asked = sweep(grid={"batch_size": sizes}, folds=folds, repeats=repeats, replicates=replicates)

    changes = [point.changes for point in expand(asked)]

    assert len(changes) == asked.size == len(sizes) * folds * repeats * replicates
    assert [
        (change["batch_size"], change.get("split.repeat", 1), change["split.fold"], change.get("seed", 0))
        for change in changes
    ] == list(product(sizes, range(1, repeats + 1), range(1, folds + 1), range(replicates)))
    assert {change["split.folds"] for change in changes} == {folds}


def test_a_fault_of_a_fold_is_traced_to_the_folds() -> None:
    point = next(expand(sweep(grid={"batch_size": [8]}, folds=3)))

    assert (point.locate("/split/folds"), point.locate("/split/fold")) == ("/folds", "/folds")
    *_, last = expand(sweep(folds=3, repeats=2))
    assert last.locate("/split/repeat") == "/repeats"
    assert point.locate("/split/group") == "/base/split/group"
    assert point.locate("/batch_size") == "/grid/batch_size/0"


def test_without_grid_and_points_the_base_is_repeated() -> None:
    assert [point.changes for point in expand(sweep())] == [{}]
    assert [point.changes for point in expand(sweep(replicates=3))] == [{"seed": 0}, {"seed": 1}, {"seed": 2}]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"grid": {"seed": [1]}, "points": [{"seed": 1}]}, "points"),
        ({"grid": {"seed": [1, 2]}, "replicates": 2}, "replicates"),
        ({"points": [{"batch_size": 8}, {"seed": 1}], "replicates": 2}, "replicates"),
        ({"grid": {}}, "grid"),
        ({"points": []}, "points"),
        ({"grid": {f"labels.{i}": ["a"] for i in range(51)}}, "grid"),
        ({"replicates": 1_001}, "replicates"),
        ({"folds": 1}, "folds"),
        ({"folds": 101}, "folds"),
        ({"folds": 3, "grid": {"split.fold": [1, 2]}}, "folds"),
        ({"folds": 3, "points": [{"split": {}}]}, "folds"),
        ({"folds": 3, "points": [{"split.repeat": 2}]}, "folds"),
        ({"folds": 3, "base": {**BASE, "split": {"folds": 5}}}, "folds"),
        ({"repeats": 2}, "repeats"),
        ({"folds": 3, "repeats": 101}, "repeats"),
        ({"base": {**BASE, "sede": 1}}, "base"),
    ],
)
def test_a_sweep_that_contradicts_itself_is_refused(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        sweep(**fields)

    assert {error["loc"][0] for error in refused.value.errors()} == {place}


def test_a_change_keeps_what_else_its_part_has_set() -> None:
    spec = variant({"optimizer": {"kind": "sgd", "momentum": 0.9}}, optimizer__lr=0.5, split__seed=3)

    assert spec == JobSpec.model_validate(
        {**BASE, "optimizer": {"kind": "sgd", "momentum": 0.9, "lr": 0.5}, "split": {"seed": 3}}
    )


def test_another_kind_brings_its_own_defaults() -> None:
    assert variant({"optimizer": {"lr": 0.1}}, optimizer__kind="sgd").optimizer.model_dump() == {
        "kind": "sgd",
        "lr": 0.1,
        "weight_decay": 0.0,
        "max_grad_norm": None,
        "rates": {},
        "momentum": 0.0,
        "nesterov": False,
    }


def test_a_key_of_a_mapping_may_contain_dots() -> None:
    rates = {"linear.bias": 0.5, "linear": 2.0}
    names = {"optimizer.rates.linear.bias": 0.1, "labels.team.a": "x"}

    spec = JobSpec.model_validate(changed(JobSpec.model_validate({**BASE, "optimizer": {"rates": rates}}), names))

    assert spec.optimizer.rates == {"linear.bias": 0.1, "linear": 2.0}
    assert spec.labels == {"team.a": "x"}
    (point,) = expand(sweep(grid={name: [value] for name, value in names.items()}))
    assert point.locate("/optimizer/rates/linear.bias") == "/grid/optimizer.rates.linear.bias/0"


def test_a_whole_part_comes_before_names_within_it() -> None:
    spec = variant({}, optimizer__lr=0.5, optimizer={"kind": "sgd", "lr": 0.1})

    assert (spec.optimizer.kind, spec.optimizer.lr) == ("sgd", 0.5)


def test_a_name_below_null_makes_an_object() -> None:
    spec = variant({"early_stopping": None}, early_stopping__monitor="val_accuracy")

    assert spec == JobSpec.model_validate({**BASE, "early_stopping": {"monitor": "val_accuracy"}})


def test_neither_the_base_nor_the_values_are_changed_along() -> None:
    base = JobSpec.model_validate({**BASE, "optimizer": {"kind": "sgd"}})
    changes = {"architecture": {"hidden": [4]}, "architecture.dropout": 0.5, "optimizer.lr": 0.5}
    before = base.model_copy(deep=True), deepcopy(changes)

    changed(base, changes)

    assert (base, changes) == before


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("/optimizer/lr", "/grid/optimizer.lr/2"),
        ("/optimizer/kind", "/grid/optimizer/0/kind"),
        ("/architecture/hidden/1", "/grid/architecture.hidden/4/1"),
        ("/labels/a~1b", "/grid/labels.a~1b/0"),
        ("/data", "/grid/data.rows/1"),
        ("/architecture/hiddens", "/base/architecture/hiddens"),
        ("/batch_size", "/base/batch_size"),
    ],
)
def test_a_fault_is_traced_to_the_value_that_brings_it_about(pointer: str, place: str) -> None:
    places = {
        "optimizer": "/grid/optimizer/0",
        "optimizer.lr": "/grid/optimizer.lr/2",
        "architecture.hidden": "/grid/architecture.hidden/4",
        "labels.a/b": "/grid/labels.a~1b/0",
        "data.rows": "/grid/data.rows/1",
    }

    assert Point(dict.fromkeys(places), places, "/grid").locate(pointer) == place
