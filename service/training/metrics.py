"""The metrics of a task, on tensors; where scikit-learn defines one, the same value. Undefined is None.

Names carry no prefix here: the history's `val_accuracy` is `accuracy` on the validation rows.
"""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional as F

Metrics = dict[str, float | None]


def classification(logits: Tensor, y: Tensor) -> Metrics:
    """accuracy, f1_macro, roc_auc and log_loss; logits: (N, C) float32, y: (N,) int64, N > 0."""
    logits = logits.double()
    predicted = logits.argmax(1)
    return _finite(
        {
            "accuracy": (predicted == y).double().mean(),
            "f1_macro": f1_macro(predicted, y, logits.shape[1]),
            "roc_auc": roc_auc(logits.softmax(1), y),
            "log_loss": F.cross_entropy(logits, y),
        }
    )


def regression(prediction: Tensor, y: Tensor) -> Metrics:
    """mae, rmse and r2; prediction and y: (N,) in the target's own units, N > 0."""
    prediction, y = prediction.double(), y.double()
    error = prediction - y
    return _finite({"mae": error.abs().mean(), "rmse": error.square().mean().sqrt(), "r2": r2(prediction, y)})


def f1_macro(predicted: Tensor, y: Tensor, classes: int) -> Tensor:
    """The mean F1 score of the classes that occur in `predicted` or `y`; both (N,) int64."""
    hits = torch.bincount(y[predicted == y], minlength=classes)
    occurrences = torch.bincount(y, minlength=classes) + torch.bincount(predicted, minlength=classes)
    seen = occurrences > 0
    return (2.0 * hits[seen].double() / occurrences[seen]).mean()


def roc_auc(probabilities: Tensor, y: Tensor) -> Tensor | None:
    """Area under the ROC curve: of class 1 where there are two, else the mean of each class against the rest.

    It is the share of (positive, negative) pairs that are in order, ties counting half (Mann and Whitney, 1947).
    probabilities: (N, C), y: (N,) int64. None where a class has no rows.
    """
    classes = probabilities.shape[1]
    positives = torch.bincount(y, minlength=classes)
    if (positives == 0).any():
        return None
    first = 1 if classes == 2 else 0
    ordered, places = probabilities[:, first:].T.contiguous().sort(1)
    own = y[places] == torch.arange(first, classes, device=y.device).unsqueeze(1)
    ranks = _double_midranks(ordered)
    positives = positives[first:]
    pairs_in_order = ((ranks * own).sum(1) - positives * positives).double() / 2
    return (pairs_in_order / (positives * (len(y) - positives))).mean()


def _double_midranks(ordered: Tensor) -> Tensor:
    """Twice the rank of each value, counted from 0, ties sharing theirs; (R, N) in order along N -> (R, N) int64."""
    places, rows = torch.arange(ordered.shape[1], device=ordered.device), ordered.shape[1]
    differs = ordered[:, 1:] != ordered[:, :-1]
    edge = torch.ones_like(ordered[:, :1], dtype=torch.bool)
    first = torch.where(torch.cat([edge, differs], 1), places, 0).cummax(1).values
    behind = torch.where(torch.cat([differs, edge], 1), places + 1, rows).flip(1).cummin(1).values.flip(1)
    return first + behind


def r2(prediction: Tensor, y: Tensor) -> Tensor | None:
    """1 minus the squared error over that of the mean; None for fewer than two rows or a constant y. Both (N,)."""
    if len(y) < 2 or bool((y == y[0]).all()):
        return None
    return 1.0 - (prediction - y).square().sum() / (y - y.mean()).square().sum()


def _finite(tensors: dict[str, Tensor | None]) -> Metrics:
    values = {name: None if tensor is None else float(tensor) for name, tensor in tensors.items()}
    return {name: value if value is not None and isfinite(value) else None for name, value in values.items()}
