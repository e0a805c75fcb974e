"""The loss of each row, and the loss of many rows with its bootstrap distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.explanations import Loss

RESAMPLES = 1_000
CONFIDENCE = (0.025, 0.975)
RESAMPLED_AT_ONCE = 2**21  # weights in memory


@dataclass(frozen=True)
class Truth:
    """The known targets of N rows: class indexes (N,) int64 with a number of classes, or numbers (N,) float64."""

    values: NDArray[Any]
    classes: int | None = None

    def at(self, rows: NDArray[np.int64]) -> Truth:
        """These of the rows."""
        return Truth(self.values[rows], self.classes)

    @property
    def loss(self) -> Loss:
        """The name of the loss of many rows."""
        return "rmse" if self.classes is None else "log_loss"

    def row_losses(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) negative log-likelihoods of probabilities (N, C), clipped as scikit-learn does, or squared errors of
        numbers (N,)."""
        if self.classes is None:
            squared: NDArray[np.float64] = np.square(outputs - self.values)
            return squared
        own = outputs[np.arange(len(self.values)), self.values]
        smallest = np.finfo(np.float64).eps
        logs: NDArray[np.float64] = -np.log(np.clip(own, smallest, 1 - smallest))
        return logs

    def mean_loss(self, row_losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Row losses (N, ...) -> (...): log loss, or RMSE."""
        return self.of_mean(row_losses.mean(0))

    def of_mean(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """The loss whose rows have these mean losses: log loss, or RMSE."""
        return np.sqrt(means) if self.classes is None else means


def resampled_means(values: NDArray[np.float64], seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Bootstrap means of values (N, K), whose rows are drawn together: (resamples, K)."""
    weights = resampling_weights(len(values), seed, resamples)
    return np.concatenate([part @ values for part in weights])


def resampling_weights(rows: int, seed: int, resamples: int = RESAMPLES) -> Iterator[NDArray[np.float64]]:
    """Parts of (resamples, rows): how often each resample has each row, divided by `rows`.

    The same for every call with the same arguments, so that differences of what it weights are paired.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, RESAMPLED_AT_ONCE // rows)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = rng.integers(rows, size=(count, rows))
        drawn += (np.arange(count) * rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows) / rows


def interval(distribution: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% percentile interval of (resamples,) values."""
    low, high = np.quantile(distribution, CONFIDENCE)
    return float(low), float(high)
