"""Columns of two models: in what their reading differs, and their union."""

from __future__ import annotations

from typing import Any

import pytest

from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.spec.column_reading import difference, union
from service.spec.table import ColumnType


def columns(*names: str, nulls: tuple[str, ...] = (), date_format: str | None = None, **fields: Any) -> Preprocessing:
    features = [FittedFeature.model_validate({"column": name, "indicator": False, **fields}) for name in names]
    return Preprocessing(
        features=features, target=FittedTarget(column="y"), null_values=list(nulls), date_format=date_format
    )


def test_the_union_has_the_columns_of_the_first_and_then_those_that_only_the_other_has() -> None:
    found = union(columns("b", "a").features, columns("c", "a", "d").features)

    assert [feature.column for feature in found] == ["b", "a", "c", "d"]


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (columns("a", "b"), None),
        (columns("b"), None),
        (columns("a", scale=2.0), None),
        (columns("b", "a", type=ColumnType.integer), "column 'a'"),
        (columns("a", nulls=("-999",)), "column 'a'"),
        (columns("b", nulls=("-999",)), "column 'b'"),  # which the first model would read with its own null values
        (columns("b", date_format="%d/%m/%Y"), "dates in another format"),
    ],
)
def test_models_differ_in_types_null_values_and_dates(other: Preprocessing, problem: str | None) -> None:
    found = difference(columns("a"), other)

    assert found is None if problem is None else (found or "").startswith(problem)
