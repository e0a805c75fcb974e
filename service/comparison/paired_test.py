"""The paired t test of two configurations: over seeds, or over folds, which share training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.comparison.student_t import two_sided_p

ROUNDING = 1e-9
"""Differences that vary by less than this share of the values vary by rounding alone."""


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, and whether it differs from 0."""

    mean: float
    standard_error: float | None
    """None for a single pair."""
    p_value: float | None
    """Two-sided; None where the differences do not vary, so that no test is possible."""


def mean_of(values: Sequence[float]) -> float:
    """The mean; infinite where the sum is too large for a float."""
    return sum(values) / len(values)


def standard_error(values: Sequence[float], folds: int | None) -> float | None:
    """Standard error of the mean of these values; None for a single one, or if it is too large for a float.

    `folds`: the values are those of folds (of one or more repeats), out of this many. Their training rows overlap, so
    that the usual s / sqrt(n) would be far too small: Nadeau and Bengio, "Inference for the Generalization Error"
    (2003), take s sqrt(1/n + rows of a fold / training rows).
    """
    n = len(values)
    if n < 2:
        return None
    mean = mean_of(values)
    # Not `**`, which raises OverflowError for huge floats; the product is infinite.
    variance = sum((value - mean) * (value - mean) for value in values) / (n - 1)
    error = math.sqrt(variance * (1 / n + (1 / (folds - 1) if folds else 0.0)))
    return error if math.isfinite(error) else None


def paired_test(pairs: Sequence[tuple[float, float]], folds: int | None) -> PairedTest:
    """Student's t test of the differences `first - second`, which has n - 1 degrees of freedom.

    `folds`: as for `standard_error`; this is then the corrected resampled t test.
    """
    differences = [first - second for first, second in pairs]
    mean, error = mean_of(differences), standard_error(differences, folds)
    if error is None or not math.isfinite(mean):
        return PairedTest(mean, error, None)
    if error <= ROUNDING * max(abs(value) for pair in pairs for value in pair):
        return PairedTest(mean, error, None if any(differences) else 1.0)
    return PairedTest(mean, error, two_sided_p(mean / error, len(pairs) - 1))


def adjusted_for_selection(p_values: Sequence[float]) -> list[float]:
    """p-values of comparisons with the best configuration, adjusted for having been selected as the best.

    Of n equal configurations any could have come first, and any of n (n - 1) / 2 pairs could have been compared. Step
    by step as Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979): once a configuration is rejected,
    pairs with it no longer count. Rejecting those of at most 5% calls one that is as good as the best worse in at most
    5% of the cases.
    """
    adjusted, highest = [1.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        left = len(p_values) - place
        highest = max(highest, min(1.0, left * (left + 1) / 2 * p_values[index]))
        adjusted[index] = highest
    return adjusted
