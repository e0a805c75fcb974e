"""Training warnings: settings without effect, rules that cannot fire, averages that do not fit, odd batches."""

from __future__ import annotations

from typing import Any

import pytest

from service.spec.job import JobSpec
from service.spec.resolve import resolve
from tests.spec.tables import TABLE, column, resolved, table


@pytest.mark.parametrize(
    ("patience", "min_epochs", "max_epochs", "warned"),
    [(9, 0, 11, False), (9, 0, 10, True), (10, 0, 10, True), (1, 10, 11, False), (1, 10, 10, True)],
)
def test_a_patience_that_saves_no_epoch_is_a_warning(
    patience: int, min_epochs: int, max_epochs: int, warned: bool
) -> None:
    rule = {"patience": patience, "min_epochs": min_epochs}
    warnings = resolved(early_stopping=rule, max_epochs=max_epochs).warnings

    assert [warning.code for warning in warnings] == ["patience_cannot_fire"] * warned
    assert all("at epoch 10" in warning.message for warning in warnings)


@pytest.mark.parametrize(
    ("averaging", "early_stopping", "code"),
    [
        ({"kind": "ema"}, None, "average_too_long"),
        ({"kind": "ema", "decay": 0.9}, None, None),
        ({"kind": "swa"}, {"patience": 10}, "average_may_not_begin"),
        ({"kind": "swa"}, None, None),
        ({"kind": "swa", "start": 3}, {"patience": 10}, None),
    ],
)
def test_an_average_that_does_not_fit_the_training_is_a_warning(
    averaging: dict[str, Any], early_stopping: dict[str, Any] | None, code: str | None
) -> None:
    warnings = resolved(averaging=averaging, early_stopping=early_stopping, max_epochs=100).warnings

    assert [warning.code for warning in warnings] == ([] if code is None else [code])


@pytest.mark.parametrize(
    ("rule", "first", "field"),
    [
        ({"rule": "gl"}, 2, "min_epochs"),
        ({"rule": "gl", "min_epochs": 7}, 7, "min_epochs"),
        ({"rule": "pq", "k": 4}, 4, "k"),
        ({"rule": "pq", "k": 4, "min_epochs": 5}, 8, "k"),
        ({"rule": "up", "s": 2, "k": 3}, 9, "s"),
        ({"rule": "up", "s": 2, "k": 3, "min_epochs": 10}, 12, "s"),
    ],
)
def test_a_rule_that_saves_no_epoch_is_a_warning(rule: dict[str, Any], first: int, field: str) -> None:
    assert resolved(early_stopping=rule, max_epochs=first + 1).warnings == ()

    (warning,) = resolved(early_stopping=rule, max_epochs=first).warnings
    assert (warning.code, warning.pointer) == (f"{rule['rule']}_cannot_fire", f"/early_stopping/{field}")
    assert f"at epoch {first} at the earliest" in warning.message


@pytest.mark.parametrize(
    ("rows", "batch_size", "steps", "warned"),
    [
        (65, 64, 1, True),
        (66, 64, 2, False),
        (129, 64, 2, True),
        (64, 64, 1, False),
        (10, 1, 10, False),
        (10, 3, 3, True),
        (10, "full", 1, False),
        (3, 2, 1, True),
    ],
)
def test_a_last_batch_of_one_row_joins_the_one_before_it(
    rows: int, batch_size: int | str, steps: int, warned: bool
) -> None:
    result = resolved(
        table(column("x"), column("y", "boolean"), rows=rows + 1), "y",
        split={"validation": 1e-9}, batch_size=batch_size, architecture={"batch_norm": False},
    )  # fmt: skip

    assert result.rows.train == rows
    assert result.steps_per_epoch == steps
    assert ("tail_batch_of_one" in {warning.code for warning in result.warnings}) == warned


def test_a_batch_larger_than_the_training_rows_is_all_of_them() -> None:
    result = resolved(batch_size=81, architecture={"batch_norm": False})

    assert (result.batch_rows, result.steps_per_epoch) == (80, 1)
    assert [warning.code for warning in result.warnings] == ["batch_larger_than_rows"]


@pytest.mark.parametrize(
    ("architecture", "warned"), [({}, True), ({"batch_norm": False}, False), ({"hidden": []}, False)]
)
def test_one_step_an_epoch_with_batch_norm_is_a_warning(architecture: dict[str, Any], warned: bool) -> None:
    warnings = resolved(batch_size="full", architecture=architecture).warnings

    assert [warning.code for warning in warnings] == ["one_step_per_epoch"] * warned


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({"preprocess": {"bins": 8}}, "/preprocess/bins", "bins has no effect without preprocess.numeric"),
        ({"preprocess": {"embedding_size": 4}}, "/preprocess/embedding_size", "without preprocess.categorical"),
        ({"preprocess": {"target_smoothing": 1.0}}, "/preprocess/target_smoothing", "high_cardinality `target`"),
        (
            {"optimizer": {"kind": "adamw", "decay_schedule": "flat_cos"}},
            "/optimizer/decay_schedule",
            "decay_schedule has no effect without a weight_decay above 0",
        ),
        (
            {"architecture": {"periodic": {}}, "data": {"id": "ds_1", "target": "species", "features": ["island"]}},
            "/architecture/periodic",
            "periodic has no effect without numeric columns",
        ),
    ],
)
def test_a_setting_without_effect_is_a_warning(fields: dict[str, Any], pointer: str, message: str) -> None:
    data = {"id": "ds_1", "target": "species"}

    (warning,) = resolve(JobSpec.model_validate({"data": data, **fields}), TABLE).warnings

    assert (warning.code, warning.pointer) == ("no_effect", pointer)
    assert message in warning.message


def test_the_smallest_momentum_of_batch_norm_is_accepted() -> None:
    warnings = resolved(architecture={"batch_norm_momentum": 5e-324}, batch_size="full").warnings

    assert [warning.code for warning in warnings] == ["one_step_per_epoch"]
