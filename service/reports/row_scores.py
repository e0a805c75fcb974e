"""Losses of single rows of a classifier, whose means are metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.intervals import Array

FLOOR = float(np.finfo(np.float32).eps)
"""Probabilities are kept as float32: a smaller one, or one nearer to 1, is not told from 0 or 1."""


def log_losses(truth: NDArray[np.int64], probabilities: NDArray[Any]) -> Array:
    """Negative logarithms of the true class' probability; truth: (N,), probabilities: (N, C) -> (N,)."""
    own = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return -np.log(np.clip(own, FLOOR, 1.0 - FLOOR))


def brier_scores(truth: NDArray[np.int64], probabilities: NDArray[Any]) -> Array:
    """Squared differences between probabilities and truth (Brier, 1950): of the second class if there are two classes,
    else summed over classes; truth: (N,), probabilities: (N, C) -> (N,).
    """
    own = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    squares = np.einsum("nc,nc->n", probabilities, probabilities, dtype=np.float64)
    scores: Array = squares - 2.0 * own + 1.0
    return scores / 2.0 if probabilities.shape[1] == 2 else scores
