"""Rows that a report is about: columns, targets, and the loss of each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.reports.regression_losses import SQUARED, RegressionLoss
from service.reports.row_scores import log_losses
from service.reports.sections.baselines import BaselineName
from service.reports.sections.importance import Loss

Columns = Mapping[str, NDArray[Any]]
Predict = Callable[[Columns], NDArray[np.float64]]
"""The outputs of the same N rows with these columns replaced: probabilities (N, C), or numbers (N,)."""


@dataclass(frozen=True)
class Truth:
    """The known targets of N rows: class indexes (N,) int64 with a number of classes, or numbers (N,) float64."""

    values: NDArray[Any]
    classes: int | None = None
    regression_loss: RegressionLoss = SQUARED
    """How predicted numbers are scored."""

    def at(self, rows: NDArray[np.int64]) -> Truth:
        """These of the rows."""
        return replace(self, values=self.values[rows])

    @property
    def loss(self) -> Loss:
        """The name of the loss of many rows."""
        return self.regression_loss.name if self.classes is None else "log_loss"

    def row_losses(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) negative log-likelihoods of probabilities (N, C), or losses of numbers (N,): for RMSE squared errors."""
        if self.classes is not None:
            return log_losses(self.values, outputs)
        return self.regression_loss.of_rows(self.values, outputs)

    def mean_loss(self, row_losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Row losses (N, ...) -> (...): their mean, or RMSE."""
        return self.of_mean(row_losses.mean(0))

    def of_mean(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """The loss whose rows have these mean losses: the same, or its root for RMSE."""
        return np.sqrt(means) if self.loss == "rmse" else means


@dataclass(frozen=True)
class RowsOfPart:
    """Feature columns (N,) and targets of some rows."""

    columns: Columns
    truth: Truth

    def at(self, rows: NDArray[np.int64]) -> RowsOfPart:
        """These of the rows."""
        return RowsOfPart({name: values[rows] for name, values in self.columns.items()}, self.truth.at(rows))


@dataclass(frozen=True)
class TrainingRows:
    """Rows that networks were trained on, all the same ones, such as those outside of a fold."""

    train: NDArray[np.int64]
    """Row numbers of a table."""
    validation: NDArray[np.int64]
    """Of the rows that chose the best epoch."""
    weights: NDArray[np.float64]
    """(N,) how much these networks count in the outputs of each of the N rows that are scored: 0 for what they were
    trained on."""


class BaselineOutputs(NamedTuple):
    """A baseline and what it predicts."""

    name: BaselineName
    description: str
    outputs: NDArray[np.float64]
    """(N, C) probabilities, or (N,) numbers."""
    rounds: int | None = None
    """How many rounds it was trained for; None where it does not learn in rounds."""
