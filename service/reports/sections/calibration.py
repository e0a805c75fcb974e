"""Temperature and conformal coverage."""

from __future__ import annotations

from service.reports.sections.estimate import Estimate
from service.spec.base import FrozenModel


class Temperature(FrozenModel):
    """A temperature by which logits are divided, so that probabilities are neither too sure nor too unsure: the one
    closest to 1 in its 95% confidence interval."""

    temperature: float
    """The temperature; above 1, probabilities get less sure; 1 changes nothing."""
    rows: int
    """Number of (validation) rows that it was fitted on."""
    log_loss: float | None
    """Log loss of these rows before; null without rows."""
    calibrated_log_loss: float | None
    """Log loss of these rows with the temperature."""
    reason: str
    """Why it is this temperature: `fitted`, `too few rows`, `no significant improvement`, `unbounded`, or `fewer
    members`: rows predicted by fewer members than the model has, such as those of a fold, would make its mean less sure
    than it should be."""


class ConformalCoverage(FrozenModel):
    """Coverage of conformal intervals or sets of classes, measured on rows that did not calibrate them."""

    level: float
    """The coverage asked for."""
    calibration_rows: int
    """Rows that calibrated the intervals."""
    quantile: float | None
    """The calibration quantile: half of an interval's width, or 1 minus the probability that a class of a set has at
    least; null if there are too few rows for the level, so that intervals are infinite and sets have all classes."""
    rows: int
    """Rows on which coverage was measured."""
    coverage: Estimate
    """Share of these rows whose truth is in its interval or set."""
    mean_size: float | None
    """Mean width of the intervals, or number of classes in a set; null if infinite."""
