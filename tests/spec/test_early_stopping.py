"""Early stopping in a spec: monitored metrics and their direction, rules and bounds."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from service.spec.early_stopping import CLASSIFICATION, REGRESSION, EarlyStopping, Monitor, Patience

RULE: TypeAdapter[EarlyStopping] = TypeAdapter(EarlyStopping)


@pytest.mark.parametrize("monitor", Monitor)
def test_scores_should_grow_and_losses_and_errors_should_shrink(monitor: Monitor) -> None:
    scores = {"val_accuracy", "val_balanced_accuracy", "val_f1_macro", "val_roc_auc", "val_r2"}

    assert monitor.larger_is_better == (monitor.value in scores)


def test_every_metric_but_the_losses_belongs_to_one_task() -> None:
    assert not CLASSIFICATION & REGRESSION
    assert set(Monitor) - CLASSIFICATION - REGRESSION == {Monitor.val_loss, Monitor.train_loss}


def fault(**fields: Any) -> tuple[str | int, str]:
    """(field, what is wrong with it) of a rule that is refused."""
    with pytest.raises(ValidationError) as refused:
        RULE.validate_python(fields)
    (error,) = refused.value.errors()
    return error["loc"][-1], error["type"]


def test_a_rule_without_a_name_is_patience() -> None:
    assert RULE.validate_python({"patience": 5}) == Patience(patience=5)
    assert RULE.validate_python({}) == Patience()


@pytest.mark.parametrize(
    ("rule", "defaults"), [("gl", {"alpha": 5.0}), ("pq", {"alpha": 0.5, "k": 5}), ("up", {"s": 3, "k": 5})]
)
def test_a_rule_by_name_alone_gets_its_defaults(rule: str, defaults: dict[str, Any]) -> None:
    common = {"monitor": "val_loss", "min_epochs": 0, "target": None, "on_non_finite": "stop"}

    assert RULE.validate_python({"rule": rule}).model_dump(mode="json") == {"rule": rule, **common, **defaults}


@pytest.mark.parametrize(
    ("rule", "field"), [("patience", "alpha"), ("gl", "patience"), ("gl", "k"), ("pq", "s"), ("up", "min_delta")]
)
def test_a_field_of_another_rule_is_refused(rule: str, field: str) -> None:
    assert fault(rule=rule, **{field: 1}) == (field, "extra_forbidden")


@pytest.mark.parametrize(
    ("rule", "field", "value"),
    [
        ("gl", "alpha", 0.0),
        ("gl", "alpha", 1.1e6),
        ("pq", "k", 1),
        ("pq", "alpha", -1.0),
        ("up", "s", 0),
        ("up", "k", 0),
    ],
)
def test_a_rules_numbers_have_bounds(rule: str, field: str, value: float) -> None:
    assert fault(rule=rule, **{field: value})[0] == field


@pytest.mark.parametrize("rule", ["gl", "pq", "up"])
@pytest.mark.parametrize("monitor", Monitor)
def test_prechelts_rules_take_losses_and_errors_and_pq_validated_ones_only(rule: str, monitor: Monitor) -> None:
    if monitor.larger_is_better or (rule == "pq" and monitor is Monitor.train_loss):
        assert fault(rule=rule, monitor=monitor) == ("monitor", "value_error")
    else:
        assert RULE.validate_python({"rule": rule, "monitor": monitor}).monitor is monitor
