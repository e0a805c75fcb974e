"""The answer about drift: what differs between new rows and training rows, as the API returns it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from service.reports.report import Finding, MissingSection
from service.spec.base import FrozenModel
from service.spec.table import ColumnType

MODERATE, LARGE = 0.1, 0.25
"""The usual thresholds of the population stability index."""

Drift = Literal["none", "moderate", "large"]


class BinShares(FrozenModel):
    """A bin of a column."""

    label: str
    """Its values: a text, `(other)`, `(missing)`, or a range of numbers or dates (UTC)."""
    training: float
    """Share of the training rows; for predictions, of the held-out rows."""
    rows: float
    """Share of the new rows."""


class ColumnDrift(FrozenModel):
    """By how much a column of the new rows differs from the training rows."""

    column: str
    """The column's name."""
    type: ColumnType
    """The type of its values."""
    drift: Drift
    """`moderate` from a `psi` of 0.1 on, `large` from 0.25 on, where it is also above `psi_limit`; else `none`."""
    psi: float
    """Population stability index: the sum over bins of (q - p) ln(q / p), where p and q are the shares of training
    rows and new rows. An empty bin counts as half a row."""
    psi_expected: float
    """The mean index of so many rows without drift, by simulation: of few rows it is large by chance."""
    psi_limit: float
    """What the index exceeds without drift in any of the columns with a probability of 5% only."""
    missing: float
    """Share of the new rows without a value."""
    training_missing: float
    """Share of the training rows without a value."""
    unseen: float | None
    """Share of the new rows with a value that is outside the range of the training rows, or a text that none of them
    has; null if they have more than 10,000 texts."""
    unseen_texts: list[str]
    """The most frequent of these texts, at most five."""
    bins: list[BinShares]
    """Numbers and dates: between the deciles of the training rows. Texts: the 20 that are most frequent in
    training rows and new rows together."""


class MovedBy(FrozenModel):
    """How a drifted column has moved the predictions."""

    column: str
    """The column's name."""
    change: list[float]
    """The mean of each output, minus the mean if this column, and no other, still had its training distribution."""


class PredictionMove(FrozenModel):
    """How the mean prediction has moved, and which columns have moved it."""

    outputs: list[str]
    """The classes, whose mean probability is given, or the target."""
    training: list[float]
    """Mean of each output for held-out rows, which the members were not trained on."""
    rows: list[float]
    """Mean of each output for the new rows. Probabilities are raw here, not calibrated."""
    by: list[MovedBy]
    """The ten columns that have drifted most, the largest change first. Columns that drift together may each have
    the same change, so changes do not add up."""


class DriftReport(FrozenModel):
    """How new rows differ from those that a version was trained on."""

    object: Literal["drift_report"] = "drift_report"
    """What this JSON object is."""
    rows: int
    """Number of new rows."""
    compared_rows: int
    """How many of them were compared: all, or in very large files every second, third, ... row."""
    predicted_rows: int
    """How many of them were predicted, drawn at random where there are more."""
    training_rows: int
    """Number of training rows, those of all members together."""
    findings: list[Finding]
    """What to know first, in words."""
    columns: list[ColumnDrift]
    """The feature columns, the largest `psi` first."""
    predictions: list[ColumnDrift]
    """The predictions, as the columns of a file of predictions, compared with those for held-out rows."""
    moved: PredictionMove | None
    """What moved the predictions; null where `missing` says why."""
    missing: list[MissingSection]
    """What is left out, and why."""


class ComparedVersion(FrozenModel):
    """The version that rows are compared with."""

    name: str
    """The model's name."""
    version: int
    """The version."""
    alias: str | None
    """The alias that led to it; null for `NAME:VERSION`."""


class ModelDrift(DriftReport):
    """How new rows differ from those that a version was trained on."""

    model: ComparedVersion
    """The version that the rows are compared with."""
    sampled_since: datetime | None
    """Of sampled rows: when the oldest was asked (UTC). Null for the rows of the request."""
