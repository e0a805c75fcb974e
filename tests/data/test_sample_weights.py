"""Sample weights: validated at submission, normalized over the training rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.data.preprocess.dataset import prepare
from service.errors import InvalidSpec
from tests.data.tables import Stored, store

ROWS = 40


def weighed(folder: Path, weights: list[Any]) -> Stored:
    lines = [f"{i % 7},{i % 2},{weight}" for i, weight in enumerate(weights)]
    return store(folder, "x,y,w\n" + "\n".join(lines) + "\n")


def in_order(stored: Stored, **data: Any) -> Any:
    split = {"shuffle": False, "validation": 0.25}
    return stored.resolve("y", data={"weight": "w", **data}, split=split, task="classification")


def test_weights_are_one_on_average_over_the_training_rows_and_no_feature(tmp_path: Path) -> None:
    stored = weighed(tmp_path, [*range(30), *[1e300] * 10])

    resolved = in_order(stored)
    prepared = prepare(resolved.preparation, stored.parquet)

    assert [feature.column for feature in resolved.features] == ["x"]
    assert prepared.train.weight is not None
    np.testing.assert_allclose(prepared.train.weight, np.arange(30) / 14.5, rtol=1e-6)
    assert (prepared.validation.weight, prepared.test.weight) == (None, None)


def test_weights_as_large_as_a_double_stay_finite(tmp_path: Path) -> None:
    stored = weighed(tmp_path, [1.7e308] * ROWS)

    weight = prepare(in_order(stored).preparation, stored.parquet).train.weight

    assert weight is not None
    assert weight.tolist() == [1.0] * 30


def test_a_weight_column_is_a_feature_only_if_named(tmp_path: Path) -> None:
    stored = weighed(tmp_path, list(range(ROWS)))

    assert [f.column for f in in_order(stored, features=["w", "x"]).features] == ["w", "x"]


@pytest.mark.parametrize(
    ("weights", "column", "reason"),
    [
        ([1] * ROWS, "v", "no column 'v'"),
        ([1] * ROWS, "y", "is the target, which cannot be the weight as well"),
        (["a"] * ROWS, "w", "is text; a weight is a number"),
        ([f"2020-01-{i % 28 + 1:02}" for i in range(ROWS)], "w", "is datetime; a weight is a number"),
        ([1] * (ROWS - 1) + [""], "w", "has no value in 1 rows"),
        ([1] * (ROWS - 1) + [-0.5], "w", "holds -0.5; weights are 0 or more"),
        ([0] * ROWS, "w", "holds nothing but 0; weights are 0 or more"),
    ],
)
def test_what_cannot_be_a_weight_is_refused(tmp_path: Path, weights: list[Any], column: str, reason: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        in_order(weighed(tmp_path, weights), weight=column)

    (fault,) = error.value.field_errors
    assert fault.pointer == "/data/weight"
    assert reason in fault.message


def test_training_rows_that_all_weigh_nothing_are_refused_when_they_are_split(tmp_path: Path) -> None:
    stored = weighed(tmp_path, [0] * 30 + [1] * 10)

    with pytest.raises(InvalidSpec, match="every training row has the weight 0"):
        prepare(in_order(stored).preparation, stored.parquet)
