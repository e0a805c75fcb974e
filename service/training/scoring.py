"""Scores of K members on the same rows: the loss without smoothing and weights, and the task's metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from service.data.preprocess.preprocessing import MAX_LOG_RATE
from service.spec.early_stopping import Monitor
from service.spec.job import JobSpec, Task
from service.spec.loss import CrossEntropy
from service.training import losses, metrics
from service.training.losses.base import by_row

if TYPE_CHECKING:
    from service.data.preprocess.preprocessing import FittedTarget

Score = tuple[float, metrics.Metrics]
"""Loss and metrics; the loss may be NaN or infinite."""


@dataclass(frozen=True)
class EpochMetrics:
    """Losses and metrics of one epoch."""

    train_loss: float  # may be NaN or infinite; so may val_loss
    val_loss: float | None  # None: there are no validation rows
    metrics: metrics.Metrics  # keyed as in the history: val_accuracy, ...

    @property
    def non_finite(self) -> bool:
        """Whether a loss is NaN or infinite."""
        return not all(isfinite(loss) for loss in (self.train_loss, self.val_loss) if loss is not None)

    def value(self, monitor: Monitor) -> float | None:
        """The monitored value; None where it is not defined."""
        return {**self.metrics, "train_loss": self.train_loss, "val_loss": self.val_loss}[monitor.value]


@dataclass(frozen=True)
class BestEvaluation:
    """What a job's best weights give for the rows that it was not trained on."""

    validation: Tensor  # (N, outputs) float32, on the CPU; so is `test`
    test: Tensor
    score: Score | None  # on the test rows; None: there are none

    @property
    def test_metrics(self) -> metrics.Metrics | None:
        """Loss and metrics of the test rows; None without test rows."""
        if self.score is None:
            return None
        loss, found = self.score
        return {"loss": loss if isfinite(loss) else None, **found}


def scores(specs: Sequence[JobSpec], outputs: Tensor, y: Tensor, target: FittedTarget) -> list[Score]:
    """The score of each member, all with the same kind of loss; outputs: (K, N, outputs), y: (N,)."""
    if specs[0].task is Task.classification:
        measured = metrics.classification(outputs, y)
        if isinstance(specs[0].known_loss, CrossEntropy):
            return [(_or_nan(each["log_loss"]), each) for each in measured]
        return list(zip(losses.mean_losses(specs, outputs.double(), y), measured, strict=True))
    predicted = outputs[..., 0].double()
    found = losses.mean_losses(specs, outputs.double(), y)
    if target.link == "log":
        predicted = by_row(torch.exp, predicted.clamp(max=MAX_LOG_RATE))
    truth = y.double() * target.scale + target.mean
    values = predicted * target.scale + target.mean
    if target.low is not None:
        values = values.clamp(target.low, target.high)
    measured = metrics.regression(values, truth)
    if target.link == "log":  # the loss is half of it, in units of the training mean
        measured = [
            {**each, "poisson_deviance": metrics.or_none(2.0 * target.scale * loss)}
            for each, loss in zip(measured, found, strict=True)
        ]
    return list(zip(found, measured, strict=True))


def _or_nan(value: float | None) -> float:
    return nan if value is None else value


def measured(train_loss: float, score: Score | None) -> EpochMetrics:
    """What an epoch gave; `score`: None without validation rows. Metrics are undefined where the loss is."""
    if score is None:
        return EpochMetrics(train_loss, None, {})
    val_loss, scores = score
    if not isfinite(val_loss):
        scores = dict.fromkeys(scores)
    return EpochMetrics(train_loss, val_loss, {f"val_{name}": value for name, value in scores.items()})
