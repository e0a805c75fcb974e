"""What explains a network in a report: importance and effects of columns, baselines. Models without NumPy."""

from __future__ import annotations

from typing import Literal

from service.reports.sections import Estimate
from service.spec.base import FrozenModel

Loss = Literal["log_loss", "rmse"]
Verdict = Literal["network_better", "no_difference", "baseline_better"]


class ColumnImportance(FrozenModel):
    """The importance of a column, or of a group of columns that are shuffled together."""

    columns: list[str]
    """One name, or those of a group."""
    increase: float
    """By how much the loss increases when these columns are shuffled between rows; the mean of all repeats."""
    low: float
    """Lower bound of the 95% bootstrap interval."""
    high: float
    """Upper bound of the 95% bootstrap interval."""
    repeats: list[float]
    """The increase in each repeat."""


class Importance(FrozenModel):
    """Permutation importance of every column."""

    loss: Loss
    """Log loss, or root of the mean squared error."""
    value: float
    """The loss of the rows as they are."""
    rows: int
    """How many rows were used, drawn at random where there are more."""
    repeats: int
    """How often each column was shuffled."""
    columns: list[ColumnImportance]
    """The largest increase first. Columns that tell each other are also listed as a group, because the network may
    do without either of them alone."""


class EffectPoint(FrozenModel):
    """The effect at one value of a column."""

    value: float | str
    """The number, time (RFC 3339) or text."""
    effect: list[float]
    """By how much the mean prediction differs from that of all rows: one number for each of the `outputs`."""
    rows: int
    """Rows between the value before and this one, or with this text."""


class ColumnEffect(FrozenModel):
    """How predictions change with the value of one column."""

    column: str
    """The column."""
    method: Literal["ale", "replaced"]
    """`ale`: accumulated local effects between quantiles of a number. `replaced`: mean predictions with every row's
    text replaced by this one."""
    points: list[EffectPoint]
    """In the order of the numbers, or the most frequent text first."""


class Effects(FrozenModel):
    """Effects of the most important columns."""

    outputs: list[str]
    """What each number of an effect is of: probabilities of these classes, or the target."""
    rows: int
    """How many rows were used."""
    columns: list[ColumnEffect]
    """The most important column first."""


class Baseline(FrozenModel):
    """A simple model, trained on the same rows and scored on the same rows as the network."""

    name: Literal["constant", "linear", "boosted_trees"]
    """The kind of model."""
    description: str
    """What it is, in words."""
    loss: Estimate
    """Its loss."""
    metrics: dict[str, float | None]
    """Accuracy and ROC AUC, or MAE and R squared."""
    difference: Estimate
    """Its loss minus the network's, on the same rows (paired): above 0 the network is better."""
    verdict: Verdict
    """Which is better; `no_difference` where the interval of the difference contains 0."""


class Baselines(FrozenModel):
    """Compared with what: simple models beside the network."""

    loss: Loss
    """Log loss, or root of the mean squared error."""
    network: Estimate
    """The network's loss."""
    network_metrics: dict[str, float | None]
    """The network's accuracy and ROC AUC, or MAE and R squared."""
    training_rows: int
    """How many training rows the models were fitted on; fewer than the network's where there are many."""
    models: list[Baseline]
    """The simplest first."""
    missing: str | None = None
    """Why models are missing, and how to get them."""
