"""Permutation importance: by how much the loss increases when a column's values are shuffled between rows.

Breiman (2001), Random Forests; with a group of columns shuffled together where they tell each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.reports.associations import MAX_COLUMNS
from service.reports.loss_intervals import LossIntervals
from service.reports.rows import Columns, Predict, Truth
from service.reports.sections.importance import ColumnImportance, Importance

REPEATS = 5


def permutation_importance(
    predict: Predict, columns: Columns, groups: Sequence[Sequence[str]], truth: Truth, orders: NDArray[np.int64]
) -> Importance:
    """The importance of each column alone and of each of `groups`, the largest first.

    columns: (N,) each; orders: (repeats, N) permutations of the rows, the same for all columns. The intervals are by
    a bootstrap of the rows.
    """
    before = truth.row_losses(predict({}))
    asked = [[name] for name in columns] + [list(group) for group in groups]
    repeats, contributions = [], [before]
    for names in asked:
        after = np.stack(
            [truth.row_losses(predict({name: columns[name][order] for name in names})) for order in orders], axis=1
        )
        repeats.append(truth.mean_loss(after) - truth.mean_loss(before))
        contributions.append(before + _contributions(after - before[:, None], orders))
    intervals = LossIntervals(truth, np.stack(contributions, axis=1))
    increases = intervals.differences(np.array([each.mean() for each in repeats]))
    found = [
        ColumnImportance(columns=names, increase=increase, repeats=each.tolist())
        for names, increase, each in zip(asked, increases, repeats, strict=True)
    ]
    found.sort(key=lambda each: -(each.increase.value or 0.0))
    return Importance(
        loss=truth.loss,
        value=float(truth.mean_loss(before)),
        rows=len(before),
        repeats=len(orders),
        compared=min(len(columns), MAX_COLUMNS),
        columns=found,
    )


def _contributions(increases: NDArray[np.float64], orders: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) what each row contributes to the mean of (N, repeats) increases of row losses.

    A row counts twice, as the row whose loss it is and as the one whose value it got: without the second part the
    interval would be too narrow.
    """
    received = increases.mean(1)
    given = np.bincount(orders.T.ravel(), increases.ravel(), minlength=len(increases)) / len(orders)
    contributions: NDArray[np.float64] = received + given - received.mean()
    return contributions


def permutations(rows: int, repeats: int, seed: int) -> NDArray[np.int64]:
    """(repeats, rows) random permutations."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(rows), (repeats, 1)), axis=1)
