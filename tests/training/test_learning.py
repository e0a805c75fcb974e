"""Jobs reach good test metrics on real tables."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from tests.training.jobs import Observed, reports


def inline(table: Any) -> dict[str, Any]:
    return {"kind": "inline", "x": table.data.tolist(), "y": table.target.tolist()}


def scored(last: Observed, metric: str) -> float:
    """A metric of the best weights on the test rows."""
    metrics = last.test
    assert metrics is not None
    value = metrics[metric]
    assert value is not None
    return value


@pytest.mark.parametrize(("table", "accuracy"), [(load_breast_cancer(), 0.93), (load_wine(), 0.93)])
@pytest.mark.parametrize(
    "optimizer", [{"kind": "adam"}, {"kind": "adamw", "weight_decay": 0.01}, {"kind": "sgd", "lr": 0.05}]
)
def test_breast_cancer_and_wine_are_classified_accurately(
    table: Any, accuracy: float, optimizer: dict[str, Any]
) -> None:
    split = {"validation": 0.2, "test": 0.2}

    *_, last = reports(data=inline(table), split=split, optimizer=optimizer, batch_size=32, max_epochs=60)

    assert scored(last, "accuracy") > accuracy


def test_the_progress_of_diabetes_is_predicted_better_than_by_its_mean() -> None:
    split = {"validation": 0.2, "test": 0.2}

    *_, last = reports(data=inline(load_diabetes()), task="regression", architecture={"hidden": [16]}, split=split)

    assert scored(last, "r2") > 0.3


def test_bfloat16_takes_another_way_to_what_is_learnt_and_is_scored_in_float32() -> None:
    fields = {"data": inline(load_breast_cancer()), "split": {"validation": 0.2, "test": 0.2}, "max_epochs": 30}

    *_, plain = reports(**fields)
    *_, to_bf16 = reports(**fields, precision="bfloat16")

    assert scored(to_bf16, "accuracy") > 0.93
    assert to_bf16.row.train_loss != plain.row.train_loss
