"""Metrics of predicted classes: confusion matrix, precision, recall and F1 of each class, and their averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Bootstrap
from service.reports.intervals import Array, proportion
from service.reports.sections.classification import AverageMetrics, ConfusionMatrix
from service.reports.sections.estimate import Estimate

MAX_CLASSES = 50
OTHER = "(other)"


@dataclass(frozen=True)
class ClassCounts:
    """Rows by class, with what each row is; C classes, N rows."""

    truth: NDArray[np.int64]  # (N,)
    predicted: NDArray[np.int64]  # (N,)
    hit: NDArray[np.bool_]  # (N,)
    hits: Array  # (C,) rows of the class that are predicted as it
    support: Array  # (C,) rows of the class
    predictions: Array  # (C,) rows predicted as the class


def count(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> ClassCounts:
    """Counts of the rows; truth and predicted: (N,)."""
    hit = truth == predicted
    hits, support, predictions = (
        np.bincount(found, minlength=classes).astype(np.float64) for found in (truth[hit], truth, predicted)
    )
    return ClassCounts(truth, predicted, hit, hits, support, predictions)


def most_frequent(counts: ClassCounts, number: int) -> list[int]:
    """The classes with most rows, in the order of classes."""
    return sorted(np.argsort(-counts.support, kind="stable")[:number].tolist())


def confusion_matrix(counts: ClassCounts, names: Sequence[str]) -> ConfusionMatrix:
    """Rows by true and predicted class; all but the 50 most frequent classes are one."""
    shown = most_frequent(counts, MAX_CLASSES)
    size, grouped = len(shown), len(names) - len(shown)
    place = np.full(len(names), size)
    place[shown] = np.arange(size)
    width = size + bool(grouped)
    cells = np.bincount(place[counts.truth] * width + place[counts.predicted], minlength=width * width)
    shown_names = [names[i] for i in shown] + [OTHER] * bool(grouped)
    return ConfusionMatrix(classes=shown_names, counts=cells.reshape(width, width).tolist(), grouped=grouped)


def precisions(counts: ClassCounts) -> list[Estimate]:
    """Precision of each class."""
    return [proportion(*each) for each in zip(counts.hits.tolist(), counts.predictions.tolist(), strict=True)]


def recalls(counts: ClassCounts) -> list[Estimate]:
    """Recall of each class."""
    return [proportion(*each) for each in zip(counts.hits.tolist(), counts.support.tolist(), strict=True)]


def f1_scores(counts: ClassCounts, shown: Sequence[int], bootstrap: Bootstrap) -> list[Estimate]:
    """F1 score of the classes in `shown`."""
    own = ((counts.truth == i, counts.predicted == i) for i in shown)
    return bootstrap.ratios(
        ((2.0 * (truth & predicted), 1.0 * truth + predicted) for truth, predicted in own), 0.0, 1.0
    )


def balanced_accuracy(counts: ClassCounts, bootstrap: Bootstrap) -> Estimate:
    """Mean recall of the classes that occur."""
    share = _shares(counts.support, 1.0 / (counts.support > 0).sum())
    recall = counts.hits / np.maximum(counts.support, 1.0)
    influences = (counts.hit - recall[counts.truth]) * share[counts.truth]
    return _with_interval(float(recall[counts.support > 0].mean()), influences, bootstrap)


def macro(counts: ClassCounts, bootstrap: Bootstrap) -> AverageMetrics:
    """Means over the classes that occur or are predicted, as scikit-learn's with `zero_division=0`."""
    occurs = counts.support + counts.predictions > 0
    weights = occurs / occurs.sum()
    return _average(counts, weights, weighted_by_support=False, bootstrap=bootstrap)


def weighted(counts: ClassCounts, bootstrap: Bootstrap) -> AverageMetrics:
    """Means over classes weighted by their rows."""
    return _average(counts, counts.support / counts.support.sum(), weighted_by_support=True, bootstrap=bootstrap)


def _average(counts: ClassCounts, weights: Array, *, weighted_by_support: bool, bootstrap: Bootstrap) -> AverageMetrics:
    """Weighted means of the classes' metrics; weights: (C,).

    A row's influence on a ratio a / b of sums is (its part of a - ratio * its part of b) / b: on recall, if the row is
    of the class; on precision, if it is predicted as it; on F1, for each of both. Where the weights are the shares of
    rows, a row also adds to the weight of its class.
    """
    truth, predicted, hit = counts.truth, counts.predicted, counts.hit
    sizes = counts.support + counts.predictions
    precision, recall = (counts.hits / np.maximum(n, 1.0) for n in (counts.predictions, counts.support))
    f1 = 2.0 * counts.hits / np.maximum(sizes, 1.0)
    by_size = _shares(sizes, weights)
    influences = (
        (hit - precision[predicted]) * _shares(counts.predictions, weights)[predicted],
        (hit - recall[truth]) * _shares(counts.support, weights)[truth],
        (hit - f1[truth]) * by_size[truth] + (hit - f1[predicted]) * by_size[predicted],
    )
    found = []
    for values, influence in zip((precision, recall, f1), influences, strict=True):
        mean = float(values @ weights)
        of_weights = (values[truth] - mean) / len(truth) if weighted_by_support else 0.0
        found.append(_with_interval(mean, influence + of_weights, bootstrap))
    return AverageMetrics(precision=found[0], recall=found[1], f1=found[2])


def _shares(sizes: Array, weights: Array | float) -> Array:
    """The weight of each class divided by its size; 0 for classes without rows."""
    return np.where(sizes > 0, weights / np.maximum(sizes, 1.0), 0.0)


def _with_interval(value: float, influences: Array, bootstrap: Bootstrap) -> Estimate:
    """A statistic with the bootstrap of its linear approximation: its value plus the sum of the rows' influences."""
    rows = len(influences)
    return bootstrap.linear([value], [bootstrap.unit_sums(influences * rows)], [rows], 0.0, 1.0)[0]
