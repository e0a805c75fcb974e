"""The report on a trained network. Without NumPy, because the API starts without it."""

from __future__ import annotations

from typing import Literal

from service.reports.sections.baselines import Baselines
from service.reports.sections.calibration import ConformalCoverage, Temperature
from service.reports.sections.classification import ClassificationSection
from service.reports.sections.effects import Effects
from service.reports.sections.importance import Importance, Loss
from service.reports.sections.regression import RegressionSection
from service.reports.sections.retraining import RetrainingSection
from service.reports.sections.slices import SlicesSection
from service.spec.base import FrozenModel
from service.spec.job import Task
from service.spec.table import Value

FORMAT = 2
"""Changes when a cached report of before cannot be read any more, or should be made again."""


class Finding(FrozenModel):
    """Something that a reader should know first."""

    level: Literal["good", "note", "warning"]
    """How it is meant; a network that loses to a baseline is a warning."""
    text: str
    """In a sentence."""


class EvaluatedRows(FrozenModel):
    """The rows that a report is about."""

    part: Literal["test", "validation"]
    """Test rows if there are any, else validation rows. Validation rows chose the best epoch, so that their metrics are
    a little too good."""
    rows: int
    """Their number."""
    not_finite: int
    """Rows of this part that are left out, because their predictions are beyond the range of float64."""
    training: int | None
    """Number of training rows; null if the data set was deleted."""
    validation: int
    """Number of validation rows."""
    test: int
    """Number of test rows."""


class WorstRow(FrozenModel):
    """A row that was predicted badly."""

    row: int
    """Its number in the stored table, from 0."""
    truth: Value
    """The true class or number."""
    prediction: Value | None
    """The predicted class or number; null for a number beyond the range of float64."""
    probability: float | None
    """The probability that the true class was given; null for regression."""
    loss: float | None
    """Negative logarithm of that probability, or the loss of the number (squared error for `rmse`); null beyond the
    range of float64."""
    values: dict[str, Value | None]
    """Values of its most important columns; empty if they are not known."""


class WorstRows(FrozenModel):
    """The rows with the largest loss."""

    columns: list[str]
    """The columns shown, the most important one first."""
    rows: list[WorstRow]
    """The worst row first; at most 50."""


class MissingSection(FrozenModel):
    """A section that this report does not have."""

    section: str
    """Its name, e.g. `importance`."""
    reason: str
    """Why not."""


class ReportSections(FrozenModel):
    """What reports have in common: metrics with intervals, comparison with baselines, columns, errors."""

    object: str
    """What this JSON object is."""
    format: int = FORMAT
    """Version of the report's contents."""
    task: Task
    """Classification or regression."""
    target: str
    """The column that is predicted."""
    loss: Loss
    """What models are compared by and columns, slices and rows are judged by: log loss for classification, else the
    loss that was trained for."""
    evaluated: EvaluatedRows
    """The rows that metrics and columns are about."""
    findings: list[Finding]
    """What to know first, in words."""
    classification: ClassificationSection | None
    """Metrics of a classifier; null for regression."""
    regression: RegressionSection | None
    """Metrics of a regression; null for classification."""
    baselines: Baselines | None
    """The network compared with simple models."""
    importance: Importance | None
    """Which columns matter."""
    effects: Effects | None
    """How predictions change with the most important columns."""
    slices: SlicesSection | None
    """Where the error is larger than elsewhere."""
    worst: WorstRows
    """The rows that were predicted worst."""
    temperature: Temperature | None
    """Calibration of the probabilities, fitted on the validation rows; null for regression."""
    conformal: list[ConformalCoverage]
    """Coverage of prediction intervals or sets of classes; empty without test rows to measure it on."""
    time_columns: list[str]
    """Columns of dates and times, whose numbers here are seconds since 1970 (UTC)."""
    missing: list[MissingSection]
    """The sections that are null, and why."""


class Report(ReportSections):
    """What a job's best epoch is worth: metrics with intervals, comparison with baselines, columns, errors."""

    object: Literal["report"] = "report"
    """What this JSON object is."""
    job: str
    """The job's id."""
    epoch: int
    """The best epoch, whose weights this is about."""
    checkpoint_sha256: str
    """SHA-256 of the weights."""
    retraining: RetrainingSection | None = None
    """What networks trained again say, with fewer rows and without columns; null unless asked for, by
    `?retrain=true`."""


class ReportMember(FrozenModel):
    """A member of the version that a report is about."""

    job: str
    """The job's id; it may have been deleted since."""
    weight: float
    """Its share in the average; those of all members sum to 1."""
    epoch: int
    """The epoch of the weights."""
    sha256: str
    """SHA-256 of the weights."""


class VersionReport(ReportSections):
    """What a version of a model is worth: the weighted average of its members, as a job's report is about one network.

    Rows are test rows only if they are test rows of all members; a validation row is predicted by the weighted average
    of the members that validated it, and so were not trained on it.
    """

    object: Literal["model_report"] = "model_report"
    """What this JSON object is."""
    model: str
    """The model's name."""
    version: int
    """The version's number."""
    members: list[ReportMember]
    """Its members."""
