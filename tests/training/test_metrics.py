"""Metrics equal scikit-learn's, with ties and absent classes; undefined ones are None."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import Tensor

from service.training import metrics


@st.composite
def classified(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """(logits (N, C), y (N,)), with few different logits so that ties are common, and classes that may be absent."""
    rows, classes = draw(st.integers(1, 25)), draw(st.integers(2, 5))
    logits = draw(npst.arrays(np.float32, (rows, classes), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 3.0])))
    y = draw(npst.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    return torch.from_numpy(logits), torch.from_numpy(y)


def of_one(logits: Tensor, y: Tensor) -> metrics.Metrics:
    """The metrics of the last of three members; the others' logits are turned about."""
    return metrics.classification(torch.stack([logits.flip(0), -logits, logits]), y)[-1]


def regression_of_one(prediction: Tensor, y: Tensor) -> metrics.Metrics:
    prediction = prediction.double()
    return metrics.regression(torch.stack([prediction + 1.0, prediction]), y.double())[-1]


def arrays_of(logits: Tensor, y: Tensor) -> tuple[Any, Any, Any]:
    return logits.double().softmax(1).numpy(), logits.argmax(1).numpy(), y.numpy()


@given(classified())
def test_accuracy_f1_and_log_loss_are_those_of_scikit_learn(rows: tuple[Tensor, Tensor]) -> None:
    probabilities, predicted, y = arrays_of(*rows)

    found = of_one(*rows)

    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predicted classes that do not occur
        assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, predicted))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(y, predicted, average="macro", zero_division=0))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, probabilities, labels=range(probabilities.shape[1])))


@given(classified())
def test_the_roc_auc_is_that_of_scikit_learn_or_none_where_a_class_is_absent(rows: tuple[Tensor, Tensor]) -> None:
    probabilities, _, y = arrays_of(*rows)
    classes = probabilities.shape[1]

    found = of_one(*rows)["roc_auc"]

    if len(set(y)) < classes:
        assert found is None
    elif classes == 2:
        assert found == pytest.approx(sk.roc_auc_score(y, probabilities[:, 1]))
    else:
        assert found == pytest.approx(sk.roc_auc_score(y, probabilities, multi_class="ovr"))


numbers = npst.arrays(np.float32, st.shared(st.integers(2, 25), key="rows"), elements=st.floats(-100, 100, width=16))


@given(numbers, numbers)
def test_mae_rmse_and_r2_are_those_of_scikit_learn(prediction: Any, y: Any) -> None:
    found = regression_of_one(torch.from_numpy(prediction), torch.from_numpy(y))

    prediction, y = prediction.astype(float), y.astype(float)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, prediction))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, prediction))
    assert found["r2"] == (None if (y == y[0]).all() else pytest.approx(sk.r2_score(y, prediction), rel=1e-6, abs=1e-6))


def test_r2_is_undefined_on_a_single_row_and_on_a_constant_target() -> None:
    assert regression_of_one(torch.tensor([1.0]), torch.tensor([2.0]))["r2"] is None
    assert regression_of_one(torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.1]))["r2"] is None


def test_a_value_that_overflows_is_undefined() -> None:
    assert regression_of_one(torch.tensor([float("inf"), 0.0]), torch.tensor([1.0, 2.0]))["rmse"] is None


def test_many_rows_keep_double_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, y = torch.randn(30_000, 2, generator=generator), torch.randint(0, 2, (30_000,), generator=generator)

    found = of_one(logits, y)["roc_auc"]

    assert found == pytest.approx(sk.roc_auc_score(y.numpy(), logits.double().softmax(1)[:, 1].numpy()), rel=1e-12)
