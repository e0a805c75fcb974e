"""The split of a spec: exclusive fields, defaults, and sizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.spec.split import Split, split_sizes

WAYS: list[dict[str, Any]] = [
    {},
    {"shuffle": False},
    {"validation": 0.0, "test": 0.5},
    {"column": "part"},
    {"group": "site", "shuffle": False},
    {"group": "site", "folds": 3},
    {"order_by": "when", "test": 0.1},
    {"folds": 3, "test": 0.1, "stratify": True},
    {"folds": 4, "fold": 4},
    {"folds": 4, "fold": 1, "repeat": 3},
    {"train_fraction": 0.1},
    {"column": "part", "train_fraction": 1.0, "train_seed": 3},
]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"column": "part", "validation": 0.2}, "column"),
        ({"column": "part", "test": 0.0}, "column"),
        ({"column": "part", "shuffle": True}, "column"),
        ({"column": "part", "stratify": True}, "column"),
        ({"column": "part", "group": "site"}, "group"),
        ({"group": "site", "stratify": True}, "group"),
        ({"order_by": "when", "column": "part"}, "order_by"),
        ({"order_by": "when", "group": "site"}, "order_by"),
        ({"order_by": "when", "shuffle": True}, "order_by"),
        ({"folds": 3, "validation": 0.2}, "folds"),
        ({"folds": 3, "column": "part"}, "folds"),
        ({"folds": 3, "order_by": "when"}, "folds"),
        ({"fold": 1}, "fold"),
        ({"folds": 3, "fold": 4}, "fold"),
        ({"repeat": 1}, "repeat"),
        ({"folds": 3, "repeat": 0}, "repeat"),
        ({"folds": 3, "repeat": 2, "shuffle": False}, "repeat"),
        ({"train_fraction": 0.0}, "train_fraction"),
        ({"train_fraction": 1.1}, "train_fraction"),
        ({"train_seed": 1}, "train_seed"),
    ],
)
def test_exclusive_fields_are_refused(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Split.model_validate(fields)

    (error,) = refused.value.errors()
    assert error["loc"] == (place,)


@pytest.mark.parametrize("fields", WAYS)
@pytest.mark.parametrize("classes", [True, False])
def test_a_split_with_every_default_written_out_is_one_that_may_be_asked_for(
    fields: dict[str, Any], classes: bool
) -> None:
    filled = Split.model_validate(fields).filled(classes=classes)

    assert Split.model_validate_json(filled.model_dump_json()) == filled
    assert filled.filled(classes=classes) == filled
    assert None not in (filled.shuffle, filled.stratify)
    assert (filled.validation is None) == bool(filled.column or filled.folds)


@given(st.integers(2, 1_000), st.integers(2, 20), st.floats(0, 0.5))
def test_folds_differ_by_a_row_at_most_and_hold_every_row_that_does_not_test_once(
    rows: int, folds: int, test: float
) -> None:
    sizes = [split_sizes(rows, Split(test=test, folds=folds, fold=fold)) for fold in range(1, folds + 1)]

    validating = [validation for _, validation, _ in sizes]
    assert max(validating) - min(validating) <= 1
    assert len({tested for _, _, tested in sizes}) == 1
    assert sum(validating) + sizes[0][2] == rows
    assert all(sum(parts) == rows for parts in sizes)
