"""Greedy ensemble selection with replacement (Caruana et al., 2004)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 20

Loss = Callable[[NDArray[np.float64]], float]


def select(values: NDArray[np.float64], loss: Loss, rounds: int = ROUNDS) -> NDArray[np.int64]:
    """How often each of M candidates is added to the ensemble, (M,); the sum is `rounds`.

    values: (M, N), each candidate's values for N rows; `loss`: of the mean values (N,) of an ensemble. Each round adds
    the candidate with which the loss is lowest, the first of equals.
    """
    counts = np.zeros(len(values), np.int64)
    total = np.zeros(values.shape[1])
    for size in range(1, rounds + 1):
        losses = [loss((total + candidate) / size) for candidate in values]
        best = int(np.argmin(np.nan_to_num(losses, nan=np.inf)))
        counts[best] += 1
        total += values[best]
    return counts


def log_loss(probabilities: NDArray[np.float64]) -> float:
    """Mean negative logarithm of the probabilities of the true classes, (N,), which are 1e-7 at least."""
    return float(-np.log(np.clip(probabilities, 1e-7, 1.0)).mean())


def rmse_of(truth: NDArray[Any]) -> Loss:
    """The root mean squared error of predictions (N,) of these true values (N,)."""

    def rmse(values: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.square(values - truth).mean()))

    return rmse
