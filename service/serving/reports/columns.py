"""The sections of a report that need the columns of the rows: importance, effects, baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.reports.associations import groups_of
from service.reports.effects import column_effect
from service.reports.importance import permutation_importance, permutations
from service.reports.rows import Predict, RowsOfPart
from service.reports.sections.effects import Effects
from service.reports.sections.importance import Importance
from service.serving.reports.rows import table_of
from service.serving.reports.weighted_columns import WeightedColumns
from service.training.checkpoint import LoadedCheckpoint
from service.training.replaced_columns import multiplications

SEED = 0
REPEATS = 5
MAX_ROWS = 5_000
MIN_ROWS = 200
"""Fewer rows are not worth it, unless there are no more."""
MAX_MULTIPLICATIONS = 4e11  # some ten seconds on one core
MAX_INPUTS = 50_000_000  # encoded values of the rows, 200 MB
MAX_EFFECTS = 10


def sampled_rows(checkpoints: Sequence[LoadedCheckpoint], rows: int) -> NDArray[np.int64] | str:
    """The rows, of `rows`, on which columns are shuffled and replaced, in order; or why there are none."""
    features = {feature.column for each in checkpoints for feature in each.preprocessing.features}
    graphs = [each.graph for each in checkpoints]
    calls = (len(features) + 1) * REPEATS
    most = min(
        MAX_ROWS,
        int(MAX_MULTIPLICATIONS / (calls * max(1, sum(map(multiplications, graphs))))),
        MAX_INPUTS // max(1, sum(graph.layout.numbers + len(graph.layout.categories) for graph in graphs)),
    )
    if most < min(MIN_ROWS, rows):
        which = "network is" if len(graphs) == 1 else "networks are"
        return f"the {which} too large to predict enough rows for each column"
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))


def importance_and_effects(
    checkpoints: Sequence[LoadedCheckpoint],
    weights: NDArray[np.float64],
    evaluated: RowsOfPart,
    sampled: NDArray[np.int64],
    outputs: list[str],
) -> tuple[Importance, Effects]:
    """Both, on the sampled rows; `outputs`: names of the classes, or of the target.

    `weights`: (M, N) of the M networks for the N evaluated rows.
    """
    table = table_of(evaluated, sampled)
    predict = WeightedColumns(checkpoints, weights[:, sampled], table)
    groups = groups_of(table.columns)
    orders = permutations(table.rows, REPEATS, SEED)
    importance = permutation_importance(predict, table.columns, groups, evaluated.truth.at(sampled), orders)
    alone = [each.columns[0] for each in importance.columns if len(each.columns) == 1]
    shown, named = _shown(predict, outputs)
    effects = (column_effect(shown, name, table.columns[name]) for name in alone[:MAX_EFFECTS])
    found = [effect for effect in effects if effect is not None]
    return importance, Effects(outputs=named, rows=table.rows, columns=found)


def _shown(predict: Predict, outputs: list[str]) -> tuple[Predict, list[str]]:
    """The outputs whose effects are shown: the second of two classes, else the most frequently predicted ones."""
    if len(outputs) == 1:
        return predict, outputs
    if len(outputs) == 2:
        chosen = np.array([1])
    else:
        chosen = np.sort(np.argsort(-predict({}).sum(0), kind="stable")[:MAX_EFFECTS])
    return lambda columns: predict(columns)[:, chosen], [outputs[place] for place in chosen.tolist()]
