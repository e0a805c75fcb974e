"""How predictions change with a column: accumulated local effects of numbers, replaced texts.

Apley and Zhu (2020), Visualizing the effects of predictor variables in black box supervised learning models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.rows import Predict
from service.reports.sections.effects import ColumnEffect, EffectPoint

BINS = 20
TEXTS = 12
"""At most so many of the most frequent texts are shown."""


def column_effect(predict: Predict, column: str, values: NDArray[Any]) -> ColumnEffect | None:
    """The effect of a column whose values in the rows are `values` (N,); None if there is only one."""
    return _of_texts(predict, column, values) if values.dtype == object else _of_numbers(predict, column, values)


def _of_numbers(predict: Predict, column: str, values: NDArray[np.float64]) -> ColumnEffect | None:
    """Within each bin every row's value moves to both edges of the bin; the mean changes are summed from bin to bin."""
    known = np.isfinite(values)
    if not known.any():
        return None
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1), method="inverted_cdf"))
    if len(edges) < 2:
        return None
    bins = np.clip(np.searchsorted(edges, values[known], side="left") - 1, 0, len(edges) - 2)
    lower, upper = values.copy(), values.copy()
    lower[known], upper[known] = edges[bins], edges[bins + 1]
    changes = _two_dimensional(predict({column: upper}) - predict({column: lower}))[known]
    counts = np.bincount(bins, minlength=len(edges) - 1)
    sums = np.stack([np.bincount(bins, change, minlength=len(edges) - 1) for change in changes.T], axis=1)
    effects = np.concatenate([np.zeros((1, sums.shape[1])), np.cumsum(sums / np.maximum(counts, 1)[:, None], axis=0)])
    middles = (effects[1:] + effects[:-1]) / 2
    effects -= counts @ middles / counts.sum()
    rows = [0, *counts.tolist()]
    points = [
        EffectPoint(value=float(edge), effect=effect.tolist(), rows=count)
        for edge, effect, count in zip(edges, effects, rows, strict=True)
    ]
    return ColumnEffect(column=column, method="ale", points=points)


def _of_texts(predict: Predict, column: str, values: NDArray[Any]) -> ColumnEffect | None:
    """The mean prediction with each of the most frequent texts in every row, minus that of all of them, weighted by
    their frequency."""
    present = np.array([value for value in values.tolist() if value is not None], dtype=str)
    texts, counts = np.unique(present, return_counts=True)
    if len(texts) < 2:
        return None
    order = np.argsort(-counts, kind="stable")[:TEXTS]
    means = np.stack(
        [_two_dimensional(predict({column: np.full(len(values), str(texts[i]), dtype=object)})).mean(0) for i in order]
    )
    means -= counts[order] @ means / counts[order].sum()
    points = [
        EffectPoint(value=str(texts[place]), effect=mean.tolist(), rows=int(counts[place]))
        for place, mean in zip(order, means, strict=True)
    ]
    return ColumnEffect(column=column, method="replaced", points=points)


def _two_dimensional(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, outputs)."""
    return outputs if outputs.ndim == 2 else outputs[:, None]
