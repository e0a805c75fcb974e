"""Metrics of K members on the same rows, with the values of scikit-learn; undefined ones are None.

Names have no prefix here: the history's `val_accuracy` is `accuracy` on the validation rows.
"""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor

Metrics = dict[str, float | None]

SORTED_AT_ONCE = 2**22  # probabilities per call: their ranks take 8 bytes each, several times


def classification(logits: Tensor, y: Tensor) -> list[Metrics]:
    """accuracy, balanced_accuracy, f1_macro, roc_auc and log_loss of each member.

    logits: (K, N, C) float32, y: (N,) int64, N > 0.
    """
    logits = logits.double()
    predicted, log_p = logits.argmax(2), logits.log_softmax(2)
    own = log_p.gather(2, y.view(1, -1, 1).expand(len(logits), -1, 1))
    areas = [roc_auc(part, y) for part in torch.split(logits.softmax(2), max(1, SORTED_AT_ONCE // log_p[0].numel()))]
    return _by_member(
        {
            "accuracy": (predicted == y).double().mean(1),
            **by_class(predicted, y, logits.shape[2]),
            "roc_auc": torch.cat(areas),
            "log_loss": -own.squeeze(2).mean(1),
        }
    )


def regression(prediction: Tensor, y: Tensor) -> list[Metrics]:
    """mae, rmse and r2 of each member; prediction: (K, N), y: (N,), both float64 in the target's own units, N > 0."""
    error = prediction - y
    return _by_member(
        {"mae": error.abs().mean(1), "rmse": error.square().mean(1).sqrt(), "r2": r2(prediction, y)},
    )


def by_class(predicted: Tensor, y: Tensor, classes: int) -> dict[str, Tensor]:
    """balanced_accuracy and f1_macro, (K,) each; predicted: (K, N), y: (N,), int64.

    Balanced accuracy is the mean recall of the classes that occur in `y`; f1_macro is the mean F1 score of the classes
    that occur in `predicted` or `y`.
    """
    members = len(predicted)
    of_member = torch.arange(members, device=y.device).unsqueeze(1) * classes

    def count(values: Tensor) -> Tensor:
        return torch.bincount(values.flatten(), minlength=members * classes).view(members, classes)

    rows = torch.bincount(y, minlength=classes)
    hits = count((predicted + of_member)[predicted == y]).double()
    occurrences = count(predicted + of_member) + rows
    f1 = (2.0 * hits / occurrences.clamp(min=1)).sum(1) / (occurrences > 0).sum(1)
    return {"balanced_accuracy": (hits / rows.clamp(min=1)).sum(1) / (rows > 0).sum(), "f1_macro": f1}


def roc_auc(probabilities: Tensor, y: Tensor) -> Tensor:
    """Area under the ROC curve: of class 1 where there are two, else the mean of each class against the rest.

    It is the fraction of (positive, negative) pairs in the right order, ties counting half (Mann and Whitney, 1947).
    probabilities: (K, N, C), y: (N,) int64 -> (K,), NaN where a class has no rows.
    """
    classes = probabilities.shape[2]
    positives = torch.bincount(y, minlength=classes)
    if (positives == 0).any():
        return probabilities.new_full((len(probabilities),), torch.nan)
    first = 1 if classes == 2 else 0
    ordered, places = probabilities[..., first:].mT.contiguous().sort(2)
    own = y[places] == torch.arange(first, classes, device=y.device).unsqueeze(1)
    ranks = _smaller_and_not_larger(ordered)
    positives = positives[first:]
    pairs_in_order = ((ranks * own).sum(2) - positives * positives).double() / 2
    return (pairs_in_order / (positives * (len(y) - positives))).mean(1)


def _smaller_and_not_larger(ordered: Tensor) -> Tensor:
    """For each value, the number of smaller plus the number of not larger values; (..., N) sorted along N -> int64.

    This is twice its midrank, counted from 0, plus 1; without ties 1, 3, 5, ...
    """
    rows = ordered.shape[-1]
    places = torch.arange(rows, device=ordered.device)
    differs = ordered[..., 1:] != ordered[..., :-1]
    edge = torch.ones_like(ordered[..., :1], dtype=torch.bool)
    first = torch.where(torch.cat([edge, differs], -1), places, 0).cummax(-1).values
    behind = torch.where(torch.cat([differs, edge], -1), places + 1, rows).flip(-1).cummin(-1).values.flip(-1)
    return first + behind


def r2(prediction: Tensor, y: Tensor) -> Tensor:
    """R squared, the coefficient of determination; (K, N) and (N,) -> (K,), NaN for one row or a constant y."""
    if len(y) < 2 or bool((y == y[0]).all()):
        return prediction.new_full((len(prediction),), torch.nan)
    return 1.0 - (prediction - y).square().sum(1) / (y - y.mean()).square().sum()


def _by_member(values: dict[str, Tensor]) -> list[Metrics]:
    """Columns (K,) -> one dict per member; values that are not finite become None."""
    rows = torch.stack(list(values.values()), 1).tolist()
    return [{name: or_none(v) for name, v in zip(values, row, strict=True)} for row in rows]


def or_none(value: float) -> float | None:
    """The value; None where it is not finite."""
    return value if isfinite(value) else None
