"""Predictions: what a request asks for, how they were calibrated, the answers."""

from __future__ import annotations

from typing import Any, NamedTuple

from service.spec.base import FrozenModel


class PredictionOptions(NamedTuple):
    """What a request for predictions asks for."""

    calibrated: bool = True
    """Whether probabilities are calibrated by the model's temperature."""
    interval: float | None = None
    """The coverage of intervals, or of sets of classes; None: without them."""


DEFAULT = PredictionOptions()


class ModelCalibration(FrozenModel):
    """How a model's predictions are calibrated, from the validation rows whose predictions were kept."""

    temperature: float | None
    """The temperature by which logits are divided; above 1, probabilities get less sure; 1: they stay raw. Null for
    regression."""
    rows: int
    """Number of validation rows that fit the temperature, or for regression calibrate the intervals; 0 if there is
    nothing to calibrate by. Sets of classes also use the validation rows that not all members of a model predict."""
    reason: str | None
    """Why it is this temperature: `fitted`, `too few rows`, `no significant improvement`, `unbounded`, `fewer members`
    (rows predicted by fewer members than the model has, such as those of a fold, cannot say that its mean is too sure),
    or what else keeps the probabilities raw. Null for regression, unless nothing calibrates its intervals."""


class AppliedCalibration(ModelCalibration):
    """How these predictions were calibrated."""

    level: float | None
    """The coverage of the intervals or sets of classes; null without them."""


class PredictedRows(NamedTuple):
    """Answers to rows, and how they were calibrated; None where nothing was to be calibrated."""

    answers: list[dict[str, Any]]
    calibration: AppliedCalibration | None
