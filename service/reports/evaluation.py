"""The evaluation of a version of a model on new labelled rows. Without NumPy, because the API starts without it."""

from __future__ import annotations

from typing import Literal

from service.reports.report import Finding, MissingSection, WorstRows
from service.reports.sections.calibration import ConformalCoverage
from service.reports.sections.classification import ClassificationSection
from service.reports.sections.estimate import Estimate
from service.reports.sections.importance import Loss
from service.reports.sections.regression import RegressionSection
from service.reports.sections.slices import SlicesSection
from service.spec.base import FrozenModel
from service.spec.job import Task


class Results(FrozenModel):
    """How good predictions of some rows are."""

    rows: int
    """Number of rows with a label and a finite prediction."""
    value: Estimate
    """Their loss."""
    classification: ClassificationSection | None
    """Metrics of a classifier; null for regression."""
    regression: RegressionSection | None
    """Metrics of a regression; null for classification."""


class HeldOutResults(Results):
    """How good the version is on the rows that its report is about."""

    part: Literal["test", "validation"]
    """Test rows of all members if there are any, else validation rows."""


class Evaluation(Results):
    """How good a version of a model is on new labelled rows, beside what its report says."""

    object: Literal["model_evaluation"] = "model_evaluation"
    """What this JSON object is."""
    model: str
    """The model's name."""
    version: int
    """The version that predicted every row."""
    task: Task
    """Classification or regression."""
    target: str
    """The column that is predicted, and holds the labels."""
    loss: Loss
    """What slices and rows are judged by: log loss for classification, else the loss that was trained for."""
    unlabelled: int
    """Rows that are left out because they have no label."""
    not_finite: int
    """Rows that are left out because their predictions are beyond the range of float64."""
    findings: list[Finding]
    """What to know first, in words."""
    difference: Estimate | None
    """The loss of these rows minus that of the rows in `compared_with`: above 0 the version is worse here. Null without
    them, and if not all members predicted them."""
    compared_with: HeldOutResults | None
    """The same numbers for the rows that were held out in training; null if the members have kept no predictions."""
    slices: SlicesSection | None
    """Where the error is larger than elsewhere; null for images and sequences, and for very many columns."""
    worst: WorstRows
    """The rows that were predicted worst; row numbers count the rows of the request from 0."""
    conformal: list[ConformalCoverage]
    """Coverage of prediction intervals or sets of classes on these rows; empty without kept predictions."""
    time_columns: list[str]
    """Columns of dates and times, whose numbers here are seconds since 1970 (UTC)."""
    missing: list[MissingSection]
    """What is null, and why."""
