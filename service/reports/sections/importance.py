"""Permutation importance of columns."""

from __future__ import annotations

from typing import Literal

from service.reports.sections.estimate import Estimate
from service.spec.base import FrozenModel

Loss = Literal["log_loss", "rmse", "mae", "pinball", "huber", "poisson_deviance"]
"""The loss that the job was trained for: RMSE for squared errors, pinball for quantiles."""


class ColumnImportance(FrozenModel):
    """The importance of a column, or of a group of columns that are shuffled together."""

    columns: list[str]
    """One name, or those of a group."""
    increase: Estimate
    """By how much the loss increases when these columns are shuffled between rows; the mean of all repeats."""
    repeats: list[float]
    """The increase in each repeat."""


class Importance(FrozenModel):
    """Permutation importance of every column."""

    loss: Loss
    """The loss: log loss for classification, else the one that the job was trained for."""
    value: float
    """The loss of the rows as they are."""
    rows: int
    """How many rows were used, drawn at random where there are more."""
    repeats: int
    """How often each column was shuffled."""
    compared: int
    """How many columns, the first ones, were compared with one another to find those that tell each other; at most
    200."""
    columns: list[ColumnImportance]
    """The largest increase first. Columns that tell each other are also listed as a group, because the network may
    do without either of them alone."""
