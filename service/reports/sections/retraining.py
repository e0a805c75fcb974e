"""Answers by retraining: a learning curve, and the loss without a column."""

from __future__ import annotations

from typing import Literal

from service.spec.base import FrozenModel

RetrainingMetric = Literal["log_loss", "rmse", "mae", "poisson_deviance", "loss"]
"""A recorded metric of which less is better; `loss`, for quantiles, is in standard deviations of the training
target."""

T_95 = {2: 6.314, 3: 2.920}
"""The 95% quantile of Student's t distribution, by the number of pairs, of which there are three at most."""


class LearningCurvePoint(FrozenModel):
    """Networks trained on a share of the training rows."""

    fraction: float
    """The share."""
    rows: int | None
    """Number of training rows, the mean over the draws; null if it was not stored."""
    mean: float
    """Mean of the metric over the draws."""
    standard_error: float | None
    """Standard error of that mean; null for a single draw."""
    draws: list[float]
    """The metric of each draw, in the order of the seeds."""


class MeanChange(FrozenModel):
    """A mean difference of the metric, paired by seed; above 0 it has become worse.

    Pairs of shares of the rows also have the initial weights in common; networks without a column have other ones.
    """

    mean: float
    """The mean difference."""
    standard_error: float | None
    """Standard error of that mean; null for a single pair."""
    pairs: list[float]
    """The difference of each pair."""

    @property
    def clear(self) -> bool:
        """Whether the sign of the mean is clear, by Student's t test: wrong in 5% of the cases without a difference,
        in either direction."""
        if self.standard_error is None or len(self.pairs) not in T_95:
            return False
        return abs(self.mean) > T_95[len(self.pairs)] * self.standard_error


class DroppedColumn(FrozenModel):
    """Networks trained without a column, compared with those of the same seeds that have it."""

    column: str
    """The column."""
    change: MeanChange
    """How the metric changes without the column."""
    verdict: Literal["worse_without", "no_difference", "better_without"]
    """`no_difference` unless a paired t test at 5% says that networks are worse, or better, without it."""


class RetrainingSection(FrozenModel):
    """What networks trained again, with fewer rows and without columns, say."""

    sweep: str
    """The sweep that trained them."""
    metric: RetrainingMetric
    """What they are compared by."""
    part: Literal["test", "validation"]
    """The rows that they are compared on: test rows, if there are any."""
    jobs: int
    """Number of jobs whose results are used."""
    without_result: int
    """Jobs that failed, were cancelled or deleted, or have an undefined metric."""
    learning_curve: list[LearningCurvePoint]
    """The smallest share first."""
    more_rows: MeanChange | None
    """From the last but one to the last share of the curve; null if either has no result."""
    columns: list[DroppedColumn]
    """The largest loss first."""
    sentences: list[str]
    """What follows, in words: first whether more rows would help, then a sentence for each column."""
