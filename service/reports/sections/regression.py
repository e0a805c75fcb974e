"""Sections of a regression's report."""

from __future__ import annotations

from service.reports.sections.estimate import Estimate
from service.spec.base import FrozenModel


class Histogram(FrozenModel):
    """Counts in bins of equal width."""

    edges: list[float]
    """Edges of the bins, one more than bins."""
    counts: list[int]
    """Rows in each bin; the first and last one contain the rows outside of the edges, too."""


class Histogram2d(FrozenModel):
    """Counts in square bins: truth against prediction."""

    edges: list[float]
    """Edges of the bins of both axes."""
    counts: list[list[int]]
    """`counts[i][j]`: rows with truth in bin i and prediction in bin j; outer bins contain the rows outside, too."""


class ResidualBin(FrozenModel):
    """Residuals (truth minus prediction) of rows with similar predictions."""

    rows: int
    """Number of rows."""
    low: float
    """Smallest prediction."""
    high: float
    """Largest prediction."""
    mean: Estimate
    """Mean residual."""
    quantiles: list[float]
    """Quantiles of the residuals: 5%, 25%, 50%, 75% and 95%."""


class ErrorDecile(FrozenModel):
    """Errors of a tenth of the rows, by the size of their true value."""

    rows: int
    """Number of rows."""
    low: float
    """Smallest true value."""
    high: float
    """Largest true value."""
    mae: Estimate
    """Mean absolute error."""
    mean_residual: Estimate
    """Mean of truth minus prediction."""


class RegressionSection(FrozenModel):
    """Metrics of a regression, in the target's unit."""

    rows: int
    """Number of rows."""
    mae: Estimate
    """Mean absolute error."""
    rmse: Estimate
    """Root of the mean squared error."""
    r2: Estimate
    """R squared; null for a constant truth."""
    median_absolute_error: Estimate
    """Median of the absolute errors."""
    mape: Estimate
    """Mean absolute error relative to the absolute truth, as a fraction; null if a true value is 0."""
    mean_residual: Estimate
    """Mean of truth minus prediction."""
    predicted_actual: Histogram2d
    """Truth against prediction."""
    residuals: Histogram
    """Residuals."""
    residuals_by_prediction: list[ResidualBin]
    """Residuals against prediction."""
    deciles: list[ErrorDecile]
    """Errors by decile of the true value; equal values are in one decile."""
